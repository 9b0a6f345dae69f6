"""Products with 4-bit experts as they allocate on a device, without knowing who is routed where."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from engine.budget.step_shape import StepShape
from engine.model import expert_matmul, nf4


def way_of(case: StepShape) -> Callable[[torch.Tensor, int], expert_matmul.MatmulStrategy]:
    """What stands for `expert_matmul.matmul_strategy`."""
    if case.device == "cpu":
        return lambda *_: _by_chunk_of_cpu

    def on_card(rows: torch.Tensor, experts: int) -> expert_matmul.MatmulStrategy:
        has_fast_groups = case.has_fast_groups
        strategy = expert_matmul.strategy_on_card(rows, experts, has_fast_groups=has_fast_groups)
        return _by_chunk_of_card if strategy is expert_matmul.by_chunk else strategy

    return on_card


def _one_chunk(
    rows: torch.Tensor,
    weight: Any,
    groups: expert_matmul.Groups,
    *,
    is_backward: bool,
    is_on_card: bool,
) -> torch.Tensor:
    """The first of several alike."""
    stack = nf4.stack_of(weight)
    out = rows.new_empty((len(rows), stack.outputs(back=is_backward)))
    spelled_out = nf4.matrices(weight, 0, stack.chunk(is_on_card=is_on_card))
    del spelled_out
    return out


_by_chunk_of_card = partial(_one_chunk, is_on_card=True)
_by_chunk_of_cpu = partial(_one_chunk, is_on_card=False)
