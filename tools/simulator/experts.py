"""Products with 4-bit experts as they allocate on a device, without knowing who is routed where."""

from collections.abc import Callable
from typing import Any

import torch

from engine.budget.step_shape import StepShape
from engine.model import expert_matmul, nf4


def way_of(case: StepShape) -> Callable[[torch.Tensor, int], expert_matmul.MatmulStrategy]:
    """What stands for `expert_matmul.matmul_strategy`.

    Flash attention and grouped products came with the same cards.
    """
    has_grouped_products = case.device == "cuda" and case.has_flash
    return expert_matmul.strategy_on_card if has_grouped_products else lambda *_: _one_chunk


def _one_chunk(
    rows: torch.Tensor, weight: Any, groups: expert_matmul.Groups, *, is_backward: bool
) -> torch.Tensor:
    """The first of several alike, with its share of the rows."""
    stack = nf4.stack_of(weight)
    size, outputs = stack.chunk(), stack.outputs(back=is_backward)
    if size == stack.count:
        spelled_out = nf4.matrices(weight, 0, size)
        made = rows.new_empty((len(rows), outputs))
        del spelled_out
        return made
    out = rows.new_empty((len(rows), outputs))
    spelled_out = nf4.matrices(weight, 0, size)
    part = rows.new_empty((len(rows) * size // stack.count if size > 1 else 0, outputs))
    del spelled_out, part
    return out
