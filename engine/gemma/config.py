"""A Gemma's config.json, as the hub or `save_pretrained` writes it, read into its facts."""

from typing import Any, Literal

from engine.gemma import towers
from engine.gemma.shapes import Dialect, Experts, Gemma, Layer, Sharing

_TEXT_TYPES: dict[str, Literal[3, 4]] = {
    "gemma3_text": 3,
    "gemma4_text": 4,
    "gemma4_unified_text": 4,
}
_DEFAULTS: dict[int, dict[str, Any]] = {
    3: {"vocab_size": 262_208, "sliding_window": 4096, "hidden_size_per_layer_input": 0},
    4: {"vocab_size": 262_144, "sliding_window": 512, "hidden_size_per_layer_input": 256},
}
"""What transformers takes where a key is left out (configuration_gemma3.py, _gemma4.py)."""
_IMAGE_TOKENS = {"gemma3": 256, "gemma4": 280, "gemma4_unified": 280}
"""Soft tokens of one image: mm_tokens_per_image, and Gemma 4's largest default budget."""


def read(config: dict[str, Any]) -> Gemma:
    """Facts that a configuration states. Raises `KeyError` or `ValueError` where it is no Gemma."""
    text = config.get("text_config") or config
    generation = _generation(config)
    values = {**_DEFAULTS[generation], **text}
    wrapper = "" if text is config else str(config["model_type"])
    vision, audio = config.get("vision_config"), config.get("audio_config")
    image_tokens = config.get("mm_tokens_per_image", _IMAGE_TOKENS.get(wrapper, 0))
    return Gemma(
        name="",
        hub_id="",
        dialect=dialect_of(config),
        generation=generation,
        is_text_only=text is config,
        vocab_size=values["vocab_size"],
        hidden_size=values["hidden_size"],
        heads=values["num_attention_heads"],
        layers=_layers(values, generation),
        sliding_window=values["sliding_window"],
        context_tokens=values.get("max_position_embeddings", 131_072),
        per_layer_width=_per_layer_width(config),
        per_layer_vocab_size=values.get("vocab_size_per_layer_input", 262_144),
        experts=_experts(values),
        final_softcap=values.get("final_logit_softcapping"),
        is_tied=values.get("tie_word_embeddings", True),
        vision=towers.vision(vision, values["hidden_size"], image_tokens) if vision else None,
        audio=towers.audio(audio, values["hidden_size"]) if audio else None,
        makes_every_mask=wrapper == "gemma4_unified",
        masks_images=generation == 3 or values.get("use_bidirectional_attention") == "vision",
        image_tokens=image_tokens if vision else 0,
    )


def dialect_of(config: dict[str, Any]) -> Dialect:
    """How the model with a config.json writes a chat. Raises `ValueError` where it is no Gemma.

    Only the small Gemma 4 models, which have per-layer embeddings, leave out empty thoughts.
    """
    if _generation(config) == 3:
        return Dialect.GEMMA3
    return Dialect.GEMMA4 if _per_layer_width(config) else Dialect.GEMMA4_LARGE


def _text_type(config: dict[str, Any]) -> str:
    """Type of the language model, with or without towers around it."""
    text = config.get("text_config") or config
    return text.get("model_type") or f"{config.get('model_type')}_text"


def _generation(config: dict[str, Any]) -> Literal[3, 4]:
    kind = _text_type(config)
    if kind not in _TEXT_TYPES:
        raise ValueError(f"model_type {kind!r} is neither Gemma 3 nor Gemma 4")
    return _TEXT_TYPES[kind]


def _per_layer_width(config: dict[str, Any]) -> int:
    text = config.get("text_config") or config
    if "unified" in _text_type(config):
        return 0
    default = _DEFAULTS[_generation(config)]["hidden_size_per_layer_input"]
    return text.get("hidden_size_per_layer_input", default) or 0


def _experts(values: dict[str, Any]) -> Experts | None:
    if not values.get("enable_moe_block"):
        return None
    return Experts(values["num_experts"], values["top_k_experts"], values["moe_intermediate_size"])


def _layers(values: dict[str, Any], generation: int) -> tuple[Layer, ...]:
    kinds = _kinds(values, generation)
    shared = values.get("num_kv_shared_layers") or 0
    sharing = _sharing(kinds, shared)
    return tuple(
        _layer(values, generation, index, kind, sharing[index]) for index, kind in enumerate(kinds)
    )


def _kinds(values: dict[str, Any], generation: int) -> list[str]:
    count = values["num_hidden_layers"]
    every = values.get("sliding_window_pattern", values.get("_sliding_window_pattern")) or 6
    kinds = values.get("layer_types") or [
        "sliding_attention" if (index + 1) % every else "full_attention" for index in range(count)
    ]
    if len(kinds) != count:
        raise ValueError(f"{len(kinds)} layer_types for {count} layers")
    return [*kinds[:-1], "full_attention"] if generation == 4 else list(kinds)


def _sharing(kinds: list[str], shared: int) -> list[Sharing]:
    """The last layer of each kind before the sharing ones keeps its keys and values for them."""
    first = len(kinds) - shared
    none: list[Sharing] = ["none"] * first
    roles = none + ["reuse"] * shared
    if shared:
        for kind in set(kinds[first:]):
            roles[first - 1 - kinds[:first][::-1].index(kind)] = "store"
    return roles


def _layer(
    values: dict[str, Any], generation: int, index: int, kind: str, sharing: Sharing
) -> Layer:
    is_full = kind == "full_attention"
    special = values.get("per_layer_config") or {}
    own = special.get(str(index), special.get(index, {}))
    head_width, kv_heads = values.get("head_dim", 256), values.get("num_key_value_heads", 4)
    shares_projection = generation == 4 and is_full and bool(values.get("attention_k_eq_v"))
    if generation == 4 and is_full and not special:
        head_width = values.get("global_head_dim") or 512
        if shares_projection and values.get("num_global_key_value_heads"):
            kv_heads = values["num_global_key_value_heads"]
    double = 2 if values.get("use_double_wide_mlp") and sharing == "reuse" else 1
    return Layer(
        attention="full" if is_full else "sliding",
        head_width=own.get("head_dim", head_width),
        kv_heads=own.get("num_key_value_heads", kv_heads),
        intermediate_size=values["intermediate_size"] * double,
        sharing=sharing,
        has_values=not shares_projection,
    )
