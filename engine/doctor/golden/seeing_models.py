"""Tiny Gemmas that see, with the settings of their image processors beside them."""

import json
from collections.abc import Callable, Mapping
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
from engine.doctor.golden import seeded_weights
from engine.doctor.tiny_models import TEXT, VISION, gemma3_tokenizer, saved

SOFT_TOKENS = 70
"""Gemma 4's smallest budget."""
LARGE: Mapping[str, Any] = {
    **tiny_models.LARGE,
    "use_bidirectional_attention": "vision",
    "sliding_window": 96,
}
"""31B's mechanisms; the window is wider than an image, as in the real ones."""
_GEMMA3_PROCESSOR = {
    "image_processor_type": "Gemma3ImageProcessor",
    "size": {"height": 56, "width": 56},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
_GEMMA4_PROCESSOR = {
    "image_processor_type": "Gemma4ImageProcessor",
    "max_soft_tokens": SOFT_TOKENS,
}


def build(kind: str, path: Path, *, is_golden: bool = False) -> Path:
    """One of `KINDS`, in `path`, with weights that golden figures are of, or random ones."""
    torch.manual_seed(0)
    _BUILDERS[kind](path, is_golden)
    settings = _GEMMA3_PROCESSOR if kind == "gemma3" else _GEMMA4_PROCESSOR
    (path / "preprocessor_config.json").write_text(json.dumps(settings))
    return path


def _gemma3(path: Path, is_golden: bool) -> None:
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
    saved(_filled(model, is_golden, norm=0.0), tokenizer, path, stops=[1, 106])


def _gemma4(path: Path, is_golden: bool) -> None:
    tiny_models.build_gemma4_multimodal(path, is_golden=is_golden)


def _large(path: Path, is_golden: bool) -> None:
    tokenizer = tiny_models.gemma4_tokenizer()
    config = Gemma4Config(
        text_config={**LARGE, "vocab_size": len(tokenizer)},
        vision_config={**VISION, "use_clipped_linears": False, "standardize": True},
        audio_config=None,
        **tiny_models.placeholder_ids(tokenizer),
    )
    model = Gemma4ForConditionalGeneration(config)
    saved(_filled(model, is_golden), tokenizer, path)


def _unified(path: Path, is_golden: bool) -> None:
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
    model = Gemma4UnifiedForConditionalGeneration(config)
    saved(_filled(model, is_golden), tokenizer, path)


def _filled(model: PreTrainedModel, is_golden: bool, norm: float = 1.0) -> PreTrainedModel:
    """Random weights are wide enough that what is seen is told from what is not."""
    if is_golden:
        seeded_weights.fill(model, norm=norm)
    for parameter in () if is_golden else model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


_BUILDERS: Mapping[str, Callable[[Path, bool], None]] = {
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "gemma4_large": _large,
    "gemma4_unified": _unified,
}
KINDS = tuple(_BUILDERS)
