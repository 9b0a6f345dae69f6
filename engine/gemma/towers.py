"""Vision and audio towers: their shapes and parameter counts from a configuration."""

from dataclasses import dataclass
from typing import Any

MODULES = ("vision_tower", "audio_tower", "embed_vision", "embed_audio", "multi_modal_projector")
"""What they are called in transformers' classes, with their projections."""


@dataclass(frozen=True, slots=True)
class Tower:
    """A frozen encoder and its projection into the language model."""

    parameters: int
    """Without buffers, which are a few kilobytes."""
    layers: int
    """0 where inputs are projected without an encoder."""
    hidden_size: int
    intermediate_size: int
    positions: int
    """Patches of the largest default image; 0 for audio."""


def vision(config: dict[str, Any], text_size: int, image_tokens: int) -> Tower:
    """Gemma 3's SigLIP, Gemma 4's encoder, or the projection of the 12B.

    Counted from modeling_siglip.py, modeling_gemma3.py, modeling_gemma4.py and
    modeling_gemma4_unified.py of transformers 5.23.
    """
    kind = config.get("model_type", "siglip_vision_model")
    if kind == "gemma4_unified_vision":
        return _unified_vision(config, text_size, image_tokens)
    if kind == "gemma4_vision":
        return _gemma4_vision(config, text_size, image_tokens)
    return _siglip(config, text_size)


def audio(config: dict[str, Any], text_size: int) -> Tower:
    """Gemma 4's conformer, or the projection of the 12B."""
    if config.get("model_type") == "gemma4_unified_audio":
        width = config.get("audio_embed_dim", 640)
        return Tower(width * text_size, 0, width, 0, 0)
    width, layers = config.get("hidden_size", 1024), config.get("num_hidden_layers", 12)
    first, second = config.get("subsampling_conv_channels", (128, 32))
    kernel, out = config.get("conv_kernel_size", 5), config.get("output_proj_dims", 1536)
    subsampling = 9 * first + first + 9 * first * second + second + first // 4 * second * width
    feed_forward = 2 * (8 * width * width + 2 * width)
    attention = 5 * width * width + width // config.get("num_attention_heads", 8)
    convolution = 3 * width * width + kernel * width + 2 * width
    layer = feed_forward + attention + convolution + 3 * width
    total = subsampling + layers * layer + width * out + out + out * text_size
    return Tower(total, layers, width, 4 * width, 0)


def _siglip(config: dict[str, Any], text_size: int) -> Tower:
    width, inner = config.get("hidden_size", 1152), config.get("intermediate_size", 4304)
    layers = config.get("num_hidden_layers", 27)
    patch, side = config.get("patch_size", 14), config.get("image_size", 896)
    patches = (side // patch) ** 2
    layer = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    total = 3 * patch * patch * width + width + patches * width + layers * layer + 2 * width
    projector = width * text_size + width
    return Tower(total + projector, layers, width, inner, patches)


def _gemma4_vision(config: dict[str, Any], text_size: int, image_tokens: int) -> Tower:
    width, inner = config.get("hidden_size", 768), config.get("intermediate_size", 3072)
    layers, patch = config.get("num_hidden_layers", 16), config.get("patch_size", 16)
    head_width = config.get("head_dim", 64)
    heads = config.get("num_attention_heads", 12) * head_width
    kv_heads = config.get("num_key_value_heads", 12) * head_width
    table = 2 * config.get("position_embedding_size", 10_240) * width
    layer = 2 * width * (heads + kv_heads) + 3 * width * inner + 2 * head_width + 4 * width
    total = 3 * patch * patch * width + table + layers * layer
    positions = image_tokens * config.get("pooling_kernel_size", 3) ** 2
    return Tower(total + width * text_size, layers, width, inner, positions)


def _unified_vision(config: dict[str, Any], text_size: int, image_tokens: int) -> Tower:
    side = config.get("patch_size", 16) * config.get("pooling_kernel_size", 3)
    pixels, width = 3 * side * side, config.get("mm_embed_dim", 3840)
    norms = 2 * pixels + 4 * width
    table = 2 * config.get("mm_posemb_size", 1120) * width
    out = config.get("output_proj_dims", width)
    total = norms + pixels * width + width + table + out * text_size
    return Tower(total, 0, width, 0, image_tokens)
