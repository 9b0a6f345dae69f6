"""The configuration of every Gemma variant, so that no file of it is needed.

Shapes are those of google-deepmind/gemma at 7691fd4 (gm/nn/_gemma.py, gm/nn/gemma4/_gemma4.py) in
the keys of transformers 5.23's config.json, and for the 12B of Gemma 4 those of its published
config.json; the numbers of parameters they give are the published ones.
"""

from typing import Any

_SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
_SMALL_VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "use_clipped_linears": True,
    "standardize": False,
}
_LARGE_VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "use_clipped_linears": False,
    "standardize": True,
}
_AUDIO = {
    "model_type": "gemma4_audio",
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "subsampling_conv_channels": [128, 32],
    "use_clipped_linears": True,
    "output_proj_dims": 1536,
}


def _text(
    layers: int, width: int, inner: int, heads: int, kv_heads: int, window: int, period: int
) -> dict[str, Any]:
    kinds = ("sliding_attention", "full_attention")
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 256,
        "sliding_window": window,
        "layer_types": [kinds[(layer + 1) % period == 0] for layer in range(layers)],
        "vocab_size": 262144,
        "tie_word_embeddings": True,
    }


def _gemma3(text: dict[str, Any], head_dim: int = 256) -> dict[str, Any]:
    inner = {**text, "vocab_size": 262208, "head_dim": head_dim}
    return {"model_type": "gemma3", "text_config": inner, "vision_config": dict(_SIGLIP)}


def _gemma4(
    text: dict[str, Any], vision: dict[str, Any], audio: dict[str, Any] | None, **more: Any
) -> dict[str, Any]:
    usual = {
        "global_head_dim": 512,
        "final_logit_softcapping": 30.0,
        "hidden_size_per_layer_input": 0,
        "num_kv_shared_layers": 0,
    }
    return {
        "model_type": "gemma4",
        "text_config": {**text, **usual, **more},
        "vision_config": dict(vision),
        "audio_config": audio and dict(audio),
    }


def _unified() -> dict[str, Any]:
    text = _text(48, 3840, 15360, 16, 8, 1024, 6)
    more = {
        "global_head_dim": 512,
        "num_global_key_value_heads": 1,
        "attention_k_eq_v": True,
        "final_logit_softcapping": 30.0,
    }
    return {
        "model_type": "gemma4_unified",
        "text_config": {**text, **more},
        "vision_config": {"model_type": "gemma4_unified_vision"},
        "audio_config": {"model_type": "gemma4_unified_audio"},
    }


_SHARED_KEYS = {"attention_k_eq_v": True}
_EXPERTS = {
    "enable_moe_block": True,
    "num_experts": 128,
    "top_k_experts": 8,
    "moe_intermediate_size": 704,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "gemma-3-270m": {"model_type": "gemma3_text", **_text(18, 640, 2048, 4, 1, 512, 6)},
    "gemma-3-1b": {"model_type": "gemma3_text", **_text(26, 1152, 6912, 4, 1, 512, 6)},
    "gemma-3-4b": _gemma3(_text(34, 2560, 10240, 8, 4, 1024, 6)),
    "gemma-3-12b": _gemma3(_text(48, 3840, 15360, 16, 8, 1024, 6)),
    "gemma-3-27b": _gemma3(_text(62, 5376, 21504, 32, 16, 1024, 6), head_dim=128),
    "gemma-4-e2b": _gemma4(
        _text(35, 1536, 6144, 8, 1, 512, 5), _SMALL_VISION, _AUDIO,
        hidden_size_per_layer_input=256, num_kv_shared_layers=20, use_double_wide_mlp=True,
    ),
    "gemma-4-e4b": _gemma4(
        _text(42, 2560, 10240, 8, 2, 512, 6), _SMALL_VISION, _AUDIO,
        hidden_size_per_layer_input=256, num_kv_shared_layers=18,
    ),
    "gemma-4-12b": _unified(),
    "gemma-4-26b-a4b": _gemma4(
        _text(30, 2816, 2112, 16, 8, 1024, 6), _LARGE_VISION, None,
        num_global_key_value_heads=2, **_SHARED_KEYS, **_EXPERTS,
    ),
    "gemma-4-31b": _gemma4(
        _text(60, 5376, 21504, 32, 16, 1024, 6), _LARGE_VISION, None,
        num_global_key_value_heads=4, **_SHARED_KEYS,
    ),
}  # fmt: skip


def named(model: str) -> dict[str, Any] | None:
    """A variant by its name or hub id, tuned or not; None where there is none of that name."""
    name = model.lower().removeprefix("google/")
    for suffix in ("", "-it", "-pt"):
        found = VARIANTS.get(name.removesuffix(suffix) if suffix else name)
        if found is not None:
            return found
    return None
