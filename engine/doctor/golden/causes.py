"""Which bug moves which figure: a table of known ones, and words for what isn't in it.

Modules end in the order in which a model works, so the first that differs from its golden figures
had right inputs: the fault is in it, or between it and the module before.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.doctor.golden.truth import Move

_FAMILIES = {
    "embedded": "Gemma 4 E2B and E4B",
    "gemma3": "Gemma 3",
    "gemma4_moe": "Gemma 4 26B-A4B",
    "gemma4_multimodal": "Gemma 4 E2B and E4B",
}
_TYPES = {"sliding_attention": "sliding layers", "full_attention": "full layers"}


@dataclass(frozen=True, slots=True)
class Suspect:
    """The first figure of one tiny Gemma that differs, in one number format."""

    kind: str
    number_format: str
    role: str
    """The figure's name without its layer: `self_attn.o_proj`, `rotary_emb`."""
    layer: str
    """What kind of layer it belongs to, if any: `full_attention`, `sliding_attention shared`."""
    move: Move
    sizes: Mapping[str, Any]
    """Of the tiny Gemma's configuration."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A known bug: the role that moves first, and on what condition."""

    role: str
    """A regular expression that matches it whole."""
    text: str
    applies: Callable[[Suspect], bool] = lambda suspect: True


def _is_shrunk_by_root(key: str) -> Callable[[Suspect], bool]:
    return lambda suspect: math.isclose(
        suspect.move.ratio * math.sqrt(suspect.sizes[key]), 1, rel_tol=0.05
    )


def _spans(*spans: int) -> Callable[[Suspect], bool]:
    return lambda suspect: suspect.move.spans == spans


def _is_zero(suspect: Suspect) -> bool:
    return suspect.move.ratio < 1e-3


def _is_shared(suspect: Suspect) -> bool:
    return "shared" in suspect.layer


_ROTARY = "rotary_emb"
_MISREAD = "4-bit weights are read as other numbers than were stored"
"""All that is right in float32 is out of the question for NF4."""
_ROUNDED = (
    "products of 4-bit weights are in fewer bits than model.dtype (bnb_4bit_compute_dtype), or the "
    "weights were rounded before they were stored in 4 bits"
)
_MOST_OF_ROUNDING = 0.08
"""What is misread is off by more, relative to a layer's output."""
_NORMS = r".*norm(_1|_2)?"
_ATTENTION = r"self_attn\.o_proj"
CAUSES = (
    Cause(
        _ROTARY,
        "the rotary embeddings turn by other angles than the configuration says: rope_theta or "
        "the scaling of these layers was lost, or is another's, as rope_parameters was converted",
    ),
    Cause(
        "embed_tokens",
        "token embeddings are not scaled by sqrt(hidden_size)",
        _is_shrunk_by_root("hidden_size"),
    ),
    Cause("embed_tokens", "token embeddings are other rows, or scaled otherwise"),
    Cause(
        "embed_tokens_per_layer",
        "per-layer embeddings are not scaled by sqrt(hidden_size_per_layer_input)",
        _is_shrunk_by_root("hidden_size_per_layer_input"),
    ),
    Cause("embed_tokens_per_layer", "per-layer embeddings are other rows, or scaled otherwise"),
    Cause(
        "per_layer_model_projection",
        "the projection of token embeddings to per-layer inputs is wrong",
    ),
    Cause(
        "per_layer_projection",
        "per-layer inputs are zero: they never reach the layers",
        _is_zero,
    ),
    Cause(
        "per_layer_projection",
        "per-layer inputs are not the scaled sum of embedding and projection, or are another "
        "layer's",
    ),
    Cause(
        _ATTENTION,
        "these layers do not get the keys and values that earlier layers share with them",
        _is_shared,
    ),
    Cause(
        _ATTENTION,
        "the mask's sliding window is lost, or off by some tokens: only tokens beyond it differ",
        lambda suspect: suspect.move.spans == (2,) and "sliding" in suspect.layer,
    ),
    Cause(
        _ATTENTION,
        "full attention does not reach back beyond the sliding window, whose mask it got",
        _spans(2),
    ),
    Cause(
        _ATTENTION,
        "the scale of attention scores (query_pre_attn_scalar) is wrong, or rotary embeddings are "
        "applied wrongly: only tokens that see others differ",
        lambda suspect: 0 not in suspect.move.spans,
    ),
    Cause(
        _ATTENTION,
        "the mask lets a token see those after it, or attention mixes other values",
    ),
    Cause(
        r"mlp\.down_proj",
        "the MLP's activation (gelu_pytorch_tanh) is another, or its gate is",
    ),
    Cause(
        r"router(\..*)?",
        "the router of the experts is wrong: its scale, its top-k, the sum of its weights, or "
        "the scale of each expert",
    ),
    Cause("experts", "the experts are wrong: their order, the halves of gate and up, or weights"),
    Cause(
        _NORMS,
        "this norm multiplies by other weights than the files say, or is left out (Gemma 3 "
        "multiplies by 1 + weight, Gemma 4 by weight), or what it gets is not the sum it should be",
    ),
    Cause("", "the layer's output is not scaled by layer_scalar, or a residual is not added"),
    Cause("lm_head", "the output head is not the table of token embeddings"),
    Cause("logits", "the final soft cap (final_logit_softcapping) is lost, or another"),
    Cause(
        "loss",
        "rows of the same length as others are scored unlike the longest one",
    ),
    Cause("scored", "the loss of training is not that of the model's logits"),
    Cause("adapted", "the adapter's update is not lora_alpha / r times B A"),
    Cause(r"gradients\..*", "the backward pass of the adapter is wrong, at the right loss"),
)


def suspects(
    number_format: str, kind: str, moves: Sequence[Move], shape: Mapping[str, Any]
) -> list[Suspect]:
    """The first figure that moved, as a list of one, or none."""
    if not moves:
        return []
    first = moves[0]
    match = re.fullmatch(r"layers\.(\d+)\.?(.*)", first.name)
    layer = shape["layers"][int(match[1])] if match else ""
    role = match[2] if match else first.name
    if role.startswith(_ROTARY):
        # One for each type of layers, in no order.
        types = [each.name.partition(".")[2] for each in moves if each.name.startswith(_ROTARY)]
        role, layer = _ROTARY, " ".join(sorted(types))
    return [Suspect(kind, number_format, role, layer, first, shape)]


def advice(suspected: Sequence[Suspect], likely: str = "") -> str:
    """What is wrong and what to do, for the suspects of one number format; "" where none is.

    `likely` is a cause that figures of its own have shown.
    """
    if not suspected:
        return ""
    first = suspected[0]
    cause = likely or _cause(first)
    alike = [each for each in suspected if each.role == first.role]
    families = dict.fromkeys(_FAMILIES[each.kind] for each in suspected)
    return f"{_where(first, alike)}: {cause}. {_remedy(first, list(families))}"


def _cause(suspect: Suspect) -> str:
    is_module = bool(suspect.layer) or suspect.role in ("embed_tokens", "norm", "logits")
    if is_module and suspect.number_format == "nf4":
        is_rounding = suspect.move.difference < _MOST_OF_ROUNDING
        return _ROUNDED if is_rounding else _MISREAD
    for cause in CAUSES:
        if re.fullmatch(cause.role, suspect.role) and cause.applies(suspect):
            return cause.text
    return "this layer's product is not that of the weights in the files"


def _where(first: Suspect, alike: Sequence[Suspect]) -> str:
    kinds = ", ".join(dict.fromkeys(each.kind for each in alike))
    types = dict.fromkeys(each.layer for each in alike if each.layer)
    layers = " and ".join(_layer_words(name) for name in types)
    name = first.role or "the layer's output"
    place = f"{name} of {layers}" if layers else name
    return f"In {first.number_format} the first figure that differs is {place} ({kinds})"


def _layer_words(layer: str) -> str:
    names = [_TYPES[name] for name in layer.split() if name in _TYPES]
    words = " and ".join(names)
    return f"{words} that share keys and values" if "shared" in layer else words


def _remedy(first: Suspect, families: list[str]) -> str:
    tested = "install the tested versions"
    if first.number_format == "nf4":
        return f'Set model.quantization = "none" and {tested}'
    return f"Do not train {', '.join(families)} here; {tested}"
