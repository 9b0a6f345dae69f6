"""Products of rows, grouped by expert, with 4-bit matrices of which nothing dequantised is kept.

Weights are quantised stacks (experts, outputs, inputs) as in `nf4`. A forward product multiplies
rows (n, inputs) by the transposed matrix of each row's expert; a backward one multiplies gradients
(n, outputs) by the matrix itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from bitsandbytes.nn import Params4bit
from torch.nn import functional

from engine.hardware.gpu import FAST_GROUPS
from engine.model import nf4

RowRange = tuple[int, int, int]
"""An expert, its first row, and where its rows end."""


@dataclass(frozen=True)
class Groups:
    """Rows sorted by the expert that each was routed to."""

    experts: torch.Tensor
    """The expert of each row, ascending: (n,) integers."""
    ends: torch.Tensor
    """Where each expert's rows end: (experts,) of int32."""

    @cached_property
    def ranges(self) -> list[RowRange]:
        """Those of experts that have rows; the device is waited for, once for all products."""
        return row_ranges(self.ends)


def row_ranges(ends: torch.Tensor) -> list[RowRange]:
    """Of experts that have rows, from where each one's end (experts,); the device is waited for."""
    lasts: list[int] = ends.tolist()
    firsts = [0, *lasts]
    return [
        (expert, first, last)
        for expert, (first, last) in enumerate(zip(firsts, lasts, strict=False))
        if last > first
    ]


def grouped(experts: torch.Tensor, count: int) -> Groups:
    """Groups of ascending expert numbers (n,), all below `count`."""
    every = torch.arange(count, device=experts.device)
    return Groups(experts, torch.searchsorted(experts, every, right=True, out_int32=True))


class MatmulStrategy(Protocol):
    """Multiplies rows (n, inputs) to (n, outputs), or gradients the other way, in their type."""

    def __call__(
        self, rows: torch.Tensor, weight: Params4bit, groups: Groups, *, is_backward: bool
    ) -> torch.Tensor: ...


def by_chunk(
    rows: torch.Tensor, weight: Params4bit, groups: Groups, *, is_backward: bool
) -> torch.Tensor:
    """Dequantise only experts with rows, and no more of them at once than a limit allows."""
    stack = nf4.stack_of(weight)
    out = rows.new_empty((len(rows), stack.outputs(back=is_backward)))
    for chunk in _chunks(groups.ranges, stack.chunk(is_on_card=rows.device.type == "cuda")):
        matrices = nf4.matrices(weight, chunk[0][0], chunk[-1][0] + 1)
        for matrix, (_, first, last) in zip(matrices, chunk, strict=True):
            torch.mm(rows[first:last], matrix if is_backward else matrix.T, out=out[first:last])
        del matrices
    return out


def _chunks(ranges: list[RowRange], size: int) -> Iterator[list[RowRange]]:
    """Ranges of neighbouring experts, so many at most."""
    chunk: list[RowRange] = []
    for following in ranges:
        if chunk and (len(chunk) == size or following[0] != chunk[-1][0] + 1):
            yield chunk
            chunk = []
        chunk.append(following)
    if chunk:
        yield chunk


def by_row(
    rows: torch.Tensor, weight: Params4bit, groups: Groups, *, is_backward: bool
) -> torch.Tensor:
    """Dequantise a matrix for each row, which nobody has to wait for; for few rows only."""
    matrices = nf4.matrices_at(weight, groups.experts)
    return torch.bmm(rows.unsqueeze(1), matrices if is_backward else matrices.mT).squeeze(1)


def by_slab(
    rows: torch.Tensor, weight: Params4bit, groups: Groups, *, is_backward: bool
) -> torch.Tensor:
    """Dequantise a slab of every expert's outputs at a time, none of them waited for."""
    stack = nf4.stack_of(weight)
    width, slab = stack.outputs(back=is_backward), stack.slab(back=is_backward)
    if slab == width:
        matrices = nf4.matrices(weight, 0, stack.count)
        return _grouped_mm(rows, matrices, groups.ends, is_backward=is_backward)
    out, scales = rows.new_empty((len(rows), width)), nf4.all_scales(weight)
    slab_of_all = nf4.columns_of_all if is_backward else nf4.rows_of_all
    for first in range(0, width, slab):
        last = min(first + slab, width)
        part = slab_of_all(weight, scales, first, last)
        out[:, first:last] = _grouped_mm(rows, part, groups.ends, is_backward=is_backward)
        del part
    return out


def _grouped_mm(
    rows: torch.Tensor, matrices: torch.Tensor, ends: torch.Tensor, *, is_backward: bool
) -> torch.Tensor:
    """Rows (n, ...) by matrices (experts, ...), of which each takes rows up to its end."""
    return functional.grouped_mm(rows, matrices if is_backward else matrices.mT, offs=ends)


def matmul_strategy(rows: torch.Tensor, experts: int) -> MatmulStrategy:
    """The fastest strategy on the device of rows (n, inputs), by `bench/speed/experts.py`.

    On a CPU what was just dequantised is still in the cache, and there is nothing to wait for.
    On a card a matrix per row is less than all of them while rows are few.
    """
    if rows.device.type != "cuda":
        return by_chunk
    return strategy_on_card(rows, experts, has_fast_groups=has_fast_groups(rows))


def strategy_on_card(rows: torch.Tensor, experts: int, *, has_fast_groups: bool) -> MatmulStrategy:
    """The fastest strategy on a card, which may have one kernel for all groups of rows.

    Without it PyTorch waits for the groups' ends at every product, and multiplies expert by
    expert: 630 waits a micro-batch of 26B-A4B by slabs. By chunks there is one in a layer's pass.
    """
    if 2 * len(rows) <= experts:
        return by_row
    return by_slab if has_fast_groups else by_chunk


def has_fast_groups(factor: torch.Tensor) -> bool:
    """Whether grouped products of such rows or weights are one kernel that nobody waits for.

    `_grouped_mm_cuda` in PyTorch's GroupedBlas.cpp has it for bfloat16 on compute capabilities 9
    and 10; before torch 2.10 there is no public function.
    """
    if factor.device.type != "cuda":
        return False
    capability = torch.cuda.get_device_capability(factor.device)
    is_served = capability[0] in FAST_GROUPS and torch.version.hip is None
    return is_served and factor.dtype is torch.bfloat16 and hasattr(functional, "grouped_mm")


class ExpertMatmul(torch.autograd.Function):
    """Rows times the transposed matrices of their experts, dequantised again for the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        weight: Params4bit,
        groups: Groups,
        strategy: MatmulStrategy,
    ) -> torch.Tensor:
        """(n, inputs) to (n, outputs); keeps the packed weight, which is there anyway."""
        ctx.weight, ctx.groups, ctx.strategy = weight, groups, strategy
        return strategy(rows, weight, groups, is_backward=False)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """(n, outputs) to the gradient of the rows, (n, inputs); weights are frozen."""
        gradient = gradients[0].contiguous()
        return ctx.strategy(gradient, ctx.weight, ctx.groups, is_backward=True), None, None, None


def multiply(rows: torch.Tensor, weight: Params4bit, groups: Groups) -> torch.Tensor:
    """Each row (n, inputs) times the matrix of its expert: (n, outputs) in the weight's type."""
    state = weight.quant_state
    strategy = matmul_strategy(rows, state.shape[0])
    product: torch.Tensor = ExpertMatmul.apply(rows.to(state.dtype), weight, groups, strategy)
    return product
