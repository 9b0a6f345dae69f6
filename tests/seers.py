"""Tiny untrained Gemmas that see, with the settings of their image processors beside them."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    PreTrainedModel,
)

from engine.doctor import tiny_models
from engine.doctor.tiny_models import TEXT, VISION, gemma3_tokenizer, saved

KINDS = ("gemma3", "gemma4", "gemma4_large", "gemma4_unified")
SOFT_TOKENS = 70
"""Gemma 4's smallest budget."""
LARGE: dict[str, Any] = {
    **tiny_models.LARGE,
    "use_bidirectional_attention": "vision",
    "sliding_window": 96,
}
"""31B's mechanisms; the window is wider than an image, as in the real ones."""


def build(kind: str, path: Path) -> Path:
    """One of `KINDS`, in `path`."""
    torch.manual_seed(0)
    if kind == "gemma3":
        _gemma3(path)
        settings = {
            "image_processor_type": "Gemma3ImageProcessor",
            "size": {"height": 56, "width": 56},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        }
    else:
        {"gemma4": tiny_models.build_gemma4_multimodal, "gemma4_large": _large,
         "gemma4_unified": _unified}[kind](path)  # fmt: skip
        settings = {"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": SOFT_TOKENS}
    (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return path


def _gemma3(path: Path) -> None:
    tokenizer = gemma3_tokenizer()
    # Beyond the table of the tokenizer's own entries, as on the hub.
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    begin, end, soft = tokenizer.convert_tokens_to_ids(
        ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    )
    config = Gemma3Config(
        text_config={
            **TEXT, "vocab_size": len(tokenizer), "num_key_value_heads": 1,
            "query_pre_attn_scalar": 16,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        boi_token_index=begin,
        eoi_token_index=end,
        image_token_index=soft,
    )  # fmt: skip
    model = Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    saved(_alive(model), tokenizer, path, stops=[1, 106])


def _large(path: Path) -> None:
    tokenizer = tiny_models.gemma4_tokenizer()
    config = Gemma4Config(
        text_config={**LARGE, "vocab_size": len(tokenizer)},
        vision_config=VISION,
        audio_config=None,
        **tiny_models.placeholder_ids(tokenizer),
    )
    saved(_alive(Gemma4ForConditionalGeneration(config)), tokenizer, path)


def _unified(path: Path) -> None:
    tokenizer = tiny_models.gemma4_tokenizer()
    config = Gemma4UnifiedConfig(
        text_config={**LARGE, "vocab_size": len(tokenizer)},
        vision_config={
            "patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 64, "mm_posemb_size": 80,
            "output_proj_dims": 64,
        },
        audio_config=None,
        **tiny_models.placeholder_ids(tokenizer),
    )  # fmt: skip
    saved(_alive(Gemma4UnifiedForConditionalGeneration(config)), tokenizer, path)


def _alive(model: PreTrainedModel) -> PreTrainedModel:
    """Matrices wide enough that what is seen is told from what is not."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model
