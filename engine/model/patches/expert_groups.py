"""transformers' products with 16-bit experts, where a card has no kernel for groups of rows.

PyTorch then waits for the groups' ends at every product, forward and backward, and multiplies
experts without rows too. Here both products of a layer and their gradients share one wait. Not run
on a GPU yet.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from transformers.integrations import moe

from engine.model.expert_matmul import RowRange, has_fast_groups, row_ranges
from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor(
    "transformers",
    ">=5.22,<5.24",
    (
        "transformers.integrations.moe:_grouped_mm",
        "transformers.integrations.moe:grouped_mm_experts_forward",
    ),
)
_KEPT_AS = "gemma_bench_ranges"
_of_transformers = moe._grouped_mm


def wait_once() -> None:
    """Let both products of a layer share one wait, from now on in this process."""
    WRITTEN_FOR.check()
    moe._grouped_mm = _multiplied


def _multiplied(input: torch.Tensor, weight: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
    """Rows (n, inputs) by matrices (experts, inputs, outputs), of which each takes rows to its end.

    The names are those that transformers calls it by.
    """
    if weight.device.type == "cpu" or has_fast_groups(weight):
        return _of_transformers(input, weight, offs)
    product: torch.Tensor = ProductByExpert.apply(input.to(weight.dtype), weight, _ranges(offs))
    return product


def _ranges(ends: torch.Tensor) -> list[RowRange]:
    """Read once: a layer hands the same tensor to both of its products."""
    ranges: list[RowRange] | None = getattr(ends, _KEPT_AS, None)
    if ranges is None:
        ranges = row_ranges(ends)
        setattr(ends, _KEPT_AS, ranges)
    return ranges


class ProductByExpert(torch.autograd.Function):
    """A product for each expert that has rows; its gradients as well."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, ranges: list[RowRange]
    ) -> torch.Tensor:
        """(n, inputs) by (experts, inputs, outputs) to (n, outputs); ranges cover all rows."""
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        ctx.ranges = ranges
        out = rows.new_empty((len(rows), weight.shape[2]))
        for expert, first, last in ranges:
            torch.mm(rows[first:last], weight[expert], out=out[first:last])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """(n, outputs) to (n, inputs), and to the gradient of adapted weights in their layout."""
        (gradient,), (rows, weight) = gradients, ctx.saved_tensors
        of_rows = of_weight = None
        if ctx.needs_input_grad[0]:
            of_rows = gradient.new_empty((len(gradient), weight.shape[1]))
            for expert, first, last in ctx.ranges:
                torch.mm(gradient[first:last], weight[expert].mT, out=of_rows[first:last])
        if ctx.needs_input_grad[1]:
            # Stored as (experts, outputs, inputs), of which transformers hands on a view.
            of_weight = torch.zeros_like(weight.mT, memory_format=torch.contiguous_format)
            for expert, first, last in ctx.ranges:
                torch.mm(gradient[first:last].mT, rows[first:last], out=of_weight[expert])
            of_weight = of_weight.mT
        return of_rows, of_weight, None
