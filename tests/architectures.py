"""Further architectures as tiny models: Gemma 3 with eyes, Gemma 4 12B's and 31B's mechanisms."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
)

from engine.doctor import tiny_models


def gemma3(folder: Path) -> Path:
    """A Gemma 3 with eyes."""
    tokenizer = tiny_models.gemma3_tokenizer()
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 1, "query_pre_attn_scalar": 16}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config={**tiny_models.TEXT, **text}, vision_config=vision, mm_tokens_per_image=4
    )
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(config)
    return tiny_models.saved(model, tokenizer, folder, stops=[1, 106])


def unified(folder: Path) -> Path:
    """A Gemma 4 that projects pixels and sound without an encoder."""
    tokenizer = tiny_models.gemma4_tokenizer()
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "global_head_dim": 32}
    config = Gemma4UnifiedConfig(
        text_config={**tiny_models.TEXT, **text},
        vision_config={"mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 32},
        audio_config={"audio_embed_dim": 32},
    )
    torch.manual_seed(0)
    model = Gemma4UnifiedForConditionalGeneration(config)
    return tiny_models.saved(model, tokenizer, folder)


def large(folder: Path) -> Path:
    """Gemma 4 31B's: dense, keys that serve as values, a wide window beside wide heads."""
    tokenizer = tiny_models.gemma4_tokenizer()
    config = Gemma4TextConfig(vocab_size=len(tokenizer), **tiny_models.LARGE)
    torch.manual_seed(0)
    return tiny_models.saved(Gemma4ForCausalLM(config), tokenizer, folder)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "gemma3_multimodal": gemma3,
    "gemma4_unified": unified,
    "gemma4_large": large,
}
