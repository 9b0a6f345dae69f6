"""Names of a language model's modules, and which of them an adapter is meant for."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Discriminator, Field, Tag

from engine.gemma.shapes import Gemma
from engine.guarded import Json

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
PROJECTIONS = (*ATTENTION, *MLP, "per_layer_input_gate", "per_layer_projection")
"""What can carry an adapter."""
EXPERTS = ("gate_up_proj", "down_proj")
"""Stacks of matrices in a mixture of experts."""
_BLOCKS = {**dict.fromkeys(ATTENTION, "self_attn."), **dict.fromkeys(MLP, "mlp.")}
TOKEN_TABLE, PER_LAYER_TABLE, HEAD = "embed_tokens", "embed_tokens_per_layer", "lm_head"
PER_LAYER_INPUT = "per_layer_model_projection"
"""Projects a token's embedding to what all layers get of it, beside its per-layer embeddings."""
_DEADLINE_S = 0.5
"""Of the processor, for one name; most expressions take a millionth of it."""
_ROOTS = ("model.language_model.", "model.", "")
"""What names begin with in the class with towers, in the one without, and within the decoder."""


def _kind_of_targets(value: Json) -> str:
    return EXPRESSION if isinstance(value, str) else NAMES


NAMES, EXPRESSION = "names", "expression"
"""The kinds of `Targets`, by which pydantic tells where in them a mistake is."""
Targets = Annotated[
    Annotated[tuple[str, ...], Field(min_length=1, strict=False), Tag(NAMES)]
    | Annotated[str, Field(min_length=1), Tag(EXPRESSION)],
    Discriminator(_kind_of_targets),
]


def path(layer: int, projection: str) -> str:
    """A projection's name within the decoder."""
    return f"layers.{layer}.{_BLOCKS.get(projection, '')}{projection}"


def untouchable(gemma: Gemma) -> Iterator[str]:
    """Names of modules that an adapter could sit on, and must not: tables, head and routers."""
    yield from (TOKEN_TABLE, HEAD)
    if gemma.per_layer_width:
        yield from (PER_LAYER_TABLE, PER_LAYER_INPUT)
    if gemma.experts:
        yield from (f"layers.{layer}.router.proj" for layer in range(len(gemma.layers)))


class TooSlow(ValueError):
    """An expression tries too many ways to match a name."""


def matches(expression: str, name: str) -> bool:
    """Whether an expression means a module of the decoder, by its whole name in either class.

    By `regex`, since Python's own `re` knows no deadline. Raises `TooSlow`.
    """
    import regex  # a tenth of a second that only expressions cost

    try:
        return any(regex.fullmatch(expression, root + name, timeout=_DEADLINE_S) for root in _ROOTS)
    except TimeoutError:
        reason = f"it takes more than {_DEADLINE_S:g} s to be matched with {name}"
        raise TooSlow(reason) from None


def is_meant(targets: tuple[str, ...] | str, layer: int, projection: str) -> bool:
    """Whether a recipe's targets are to adapt a projection of a layer."""
    if isinstance(targets, str):
        return matches(targets, path(layer, projection))
    return projection in targets
