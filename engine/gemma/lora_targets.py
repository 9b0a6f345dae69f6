"""Names of a language model's modules, and which of them an adapter is meant for."""

import re
from collections.abc import Iterator

from engine.gemma.catalog import Gemma
from engine.recipe.schema import ATTENTION, MLP

PROJECTIONS = (*ATTENTION, *MLP, "per_layer_input_gate", "per_layer_projection")
"""What can carry an adapter."""
EXPERTS = ("gate_up_proj", "down_proj")
"""Stacks of matrices in a mixture of experts."""
_BLOCKS = {**dict.fromkeys(ATTENTION, "self_attn."), **dict.fromkeys(MLP, "mlp.")}
_ROOTS = ("model.language_model.", "model.", "")
"""What names begin with in the class with towers, in the one without, and within the decoder."""


def path(layer: int, projection: str) -> str:
    """A projection's name within the decoder."""
    return f"layers.{layer}.{_BLOCKS.get(projection, '')}{projection}"


def untouchable(gemma: Gemma) -> Iterator[str]:
    """Names of modules that an adapter could sit on, and must not: tables, head and routers."""
    yield from ("embed_tokens", "lm_head")
    if gemma.per_layer_width:
        yield from ("embed_tokens_per_layer", "per_layer_model_projection")
    if gemma.experts:
        yield from (f"layers.{layer}.router.proj" for layer in range(len(gemma.layers)))


def matches(expression: str, name: str) -> bool:
    """Whether an expression means a module of the decoder, by its whole name in either class."""
    return any(re.fullmatch(expression, root + name) for root in _ROOTS)


def is_meant(targets: tuple[str, ...] | str, layer: int, projection: str) -> bool:
    """Whether a recipe's targets are to adapt a projection of a layer."""
    if isinstance(targets, str):
        return matches(targets, path(layer, projection))
    return projection in targets
