"""Products of rows, grouped by expert, with 4-bit matrices of which nothing spelled out is kept."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from engine.model import nf4

CHUNK_BYTES = 2 << 20
"""The most that is spelled out at once on a CPU, unless one matrix is larger."""
SLAB_BYTES = 256 << 20
"""The most that is spelled out at once on a GPU; 26B-A4B's larger stack has 968 MiB."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by the expert that each was routed to."""

    experts: torch.Tensor
    """The expert of each row, ascending."""
    ends: torch.Tensor
    """Where each expert's rows end."""

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """Expert, first row and last row of experts that have rows; the device is waited for."""
        first = 0
        for expert, last in enumerate(self.ends.tolist()):
            if last > first:
                yield expert, first, last
            first = last


def grouped(experts: torch.Tensor, count: int) -> Groups:
    """Groups of ascending expert numbers below `count`."""
    every = torch.arange(count, device=experts.device)
    return Groups(experts, torch.searchsorted(experts, every, right=True, out_int32=True))


class Way(Protocol):
    """How rows are multiplied by the matrices of their experts; `back` takes these transposed."""

    def __call__(
        self, given: torch.Tensor, weight: Any, groups: Groups, *, back: bool
    ) -> torch.Tensor: ...


def by_chunk(given: torch.Tensor, weight: Any, groups: Groups, *, back: bool) -> torch.Tensor:
    """Experts with rows only, and no more of them at once than the cache holds spelled out."""
    out = given.new_empty((len(given), _width(weight, back=back)))
    routed = list(groups.ranges())
    _, rows, columns = weight.quant_state.shape
    size = max(1, CHUNK_BYTES // (rows * columns * weight.quant_state.dtype.itemsize))
    for place in range(0, len(routed), size):
        chunk = routed[place : place + size]
        experts, first, last = [each[0] for each in chunk], chunk[0][1], chunk[-1][2]
        matrices = _matrices(weight, experts)
        if len(chunk) == 1:
            matrix = matrices[0] if back else matrices[0].T
            torch.mm(given[first:last], matrix, out=out[first:last])
            continue
        ends = torch.tensor([each[2] - first for each in chunk], dtype=torch.int32)
        of_chunk = Groups(groups.experts, ends.to(given.device))
        out[first:last] = _grouped_mm(given[first:last], matrices, of_chunk, back=back)
    return out


def _matrices(weight: Any, experts: list[int]) -> torch.Tensor:
    if experts[-1] - experts[0] == len(experts) - 1:
        return nf4.matrices(weight, experts[0], experts[-1] + 1)
    return nf4.chosen(weight, torch.tensor(experts, device=weight.device))


def by_row(given: torch.Tensor, weight: Any, groups: Groups, *, back: bool) -> torch.Tensor:
    """A matrix for each row, which nobody has to wait for; for few rows only."""
    matrices = nf4.chosen(weight, groups.experts)
    return torch.bmm(given.unsqueeze(1), matrices if back else matrices.mT).squeeze(1)


def by_slab(given: torch.Tensor, weight: Any, groups: Groups, *, back: bool) -> torch.Tensor:
    """Grouped products with a slab of every expert's outputs at a time, none of them waited for."""
    width, slab = _width(weight, back=back), _slab_width(weight, back=back)
    if slab == width:
        whole = nf4.matrices(weight, 0, weight.quant_state.shape[0])
        return _grouped_mm(given, whole, groups, back=back)
    out, scales = given.new_empty((len(given), width)), nf4.all_scales(weight)
    part_of_all = nf4.columns_of_all if back else nf4.rows_of_all
    for first in range(0, width, slab):
        last = min(first + slab, width)
        part = part_of_all(weight, scales, first, last)
        out[:, first:last] = _grouped_mm(given, part, groups, back=back)
        del part
    return out


def _grouped_mm(
    given: torch.Tensor, matrices: torch.Tensor, groups: Groups, *, back: bool
) -> torch.Tensor:
    chosen = matrices if back else matrices.mT
    return functional.grouped_mm(given, chosen, offs=groups.ends)


def _width(weight: Any, *, back: bool) -> int:
    """Numbers in a row of the product."""
    width: int = weight.quant_state.shape[2 if back else 1]
    return width


def _slab_width(weight: Any, *, back: bool) -> int:
    """Whole blocks in a slab; everything where a row of weights is none."""
    state, width = weight.quant_state, _width(weight, back=back)
    if state.shape[2] % state.blocksize:
        return width
    of_one = math.prod(state.shape) // width * state.dtype.itemsize
    blocks = SLAB_BYTES // of_one // state.blocksize
    return int(min(width, max(1, blocks) * state.blocksize))


def way(given: torch.Tensor, experts: int) -> Way:
    """The fastest way on a device, as bench/experts.py measures them.

    On a CPU what was just spelled out is still in the cache, and there is nothing to wait for.
    On a GPU waiting for the counts would stall every layer, and a matrix per row is less than
    all of them while rows are few. Before Ampere there are no grouped products.
    """
    if given.device.type != "cuda" or torch.cuda.get_device_capability(given.device) < (8, 0):
        return by_chunk
    return by_row if 2 * len(given) <= experts else by_slab


class Product(torch.autograd.Function):
    """Rows times the transposed matrices of their experts, which are spelled out again backward."""

    @staticmethod
    def forward(
        ctx: Any, given: torch.Tensor, weight: Any, groups: Groups, chosen: Way
    ) -> torch.Tensor:
        """Keeps the packed weight, which is there anyway, and where the groups end."""
        ctx.weight, ctx.groups, ctx.chosen = weight, groups, chosen
        return chosen(given, weight, groups, back=False)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """The gradient of the rows; weights are frozen."""
        gradient = gradients[0].contiguous()
        return ctx.chosen(gradient, ctx.weight, ctx.groups, back=True), None, None, None


def multiply(given: torch.Tensor, weight: Any, groups: Groups) -> torch.Tensor:
    """Each row times the matrix of its expert, in the numbers of the weight."""
    state = weight.quant_state
    found: torch.Tensor = Product.apply(
        given.to(state.dtype), weight, groups, way(given, state.shape[0])
    )
    return found
