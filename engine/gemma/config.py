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
    given = {**_DEFAULTS[generation], **text}
    wrapper = "" if text is config else str(config["model_type"])
    vision, audio = config.get("vision_config"), config.get("audio_config")
    image_tokens = config.get("mm_tokens_per_image", _IMAGE_TOKENS.get(wrapper, 0))
    return Gemma(
        name="",
        hub_id="",
        dialect=dialect_of(config),
        generation=generation,
        is_text_only=text is config,
        vocab_size=given["vocab_size"],
        hidden_size=given["hidden_size"],
        heads=given["num_attention_heads"],
        layers=_layers(given, generation),
        sliding_window=given["sliding_window"],
        context_tokens=given.get("max_position_embeddings", 131_072),
        per_layer_width=_per_layer_width(config),
        per_layer_vocab_size=given.get("vocab_size_per_layer_input", 262_144),
        experts=_experts(given),
        final_softcap=given.get("final_logit_softcapping"),
        is_tied=given.get("tie_word_embeddings", True),
        vision=towers.vision(vision, given["hidden_size"], image_tokens) if vision else None,
        audio=towers.audio(audio, given["hidden_size"]) if audio else None,
        makes_every_mask=wrapper == "gemma4_unified",
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


def _experts(given: dict[str, Any]) -> Experts | None:
    if not given.get("enable_moe_block"):
        return None
    return Experts(given["num_experts"], given["top_k_experts"], given["moe_intermediate_size"])


def _layers(given: dict[str, Any], generation: int) -> tuple[Layer, ...]:
    kinds = _kinds(given, generation)
    shared = given.get("num_kv_shared_layers") or 0
    sharing = _sharing(kinds, shared)
    return tuple(
        _layer(given, generation, place, kind, sharing[place]) for place, kind in enumerate(kinds)
    )


def _kinds(given: dict[str, Any], generation: int) -> list[str]:
    count = given["num_hidden_layers"]
    every = given.get("sliding_window_pattern", given.get("_sliding_window_pattern")) or 6
    kinds = given.get("layer_types") or [
        "sliding_attention" if (place + 1) % every else "full_attention" for place in range(count)
    ]
    if len(kinds) != count:
        raise ValueError(f"{len(kinds)} layer_types for {count} layers")
    return [*kinds[:-1], "full_attention"] if generation == 4 else list(kinds)


def _sharing(kinds: list[str], shared: int) -> list[Sharing]:
    """The last layer of each kind before the sharing ones keeps its keys and values for them."""
    first = len(kinds) - shared
    none: list[Sharing] = ["none"] * first
    found = none + ["reuse"] * shared
    if shared:
        for kind in set(kinds[first:]):
            found[first - 1 - kinds[:first][::-1].index(kind)] = "store"
    return found


def _layer(
    given: dict[str, Any], generation: int, place: int, kind: str, sharing: Sharing
) -> Layer:
    is_full = kind == "full_attention"
    special = given.get("per_layer_config") or {}
    own = special.get(str(place), special.get(place, {}))
    head_width, kv_heads = given.get("head_dim", 256), given.get("num_key_value_heads", 4)
    shares_projection = generation == 4 and is_full and bool(given.get("attention_k_eq_v"))
    if generation == 4 and is_full and not special:
        head_width = given.get("global_head_dim") or 512
        if shares_projection and given.get("num_global_key_value_heads"):
            kv_heads = given["num_global_key_value_heads"]
    double = 2 if given.get("use_double_wide_mlp") and sharing == "reuse" else 1
    return Layer(
        attention="full" if is_full else "sliding",
        head_width=own.get("head_dim", head_width),
        kv_heads=own.get("num_key_value_heads", kv_heads),
        intermediate_size=given["intermediate_size"] * double,
        sharing=sharing,
        has_values=not shares_projection,
    )
