"""Products of rows, grouped by expert, with 4-bit matrices of which nothing spelled out is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional

from engine.model import nf4

Range = tuple[int, int, int]
"""An expert, its first row, and where its rows end."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by the expert that each was routed to."""

    experts: torch.Tensor
    """The expert of each row, ascending."""
    ends: torch.Tensor
    """Where each expert's rows end."""

    def ranges(self) -> Iterator[Range]:
        """Those of experts that have rows; the device is waited for."""
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
    stack, routed = nf4.stack_of(weight), list(groups.ranges())
    size = stack.chunk()
    if 1 < len(routed) <= size:
        return _multiplied(given, weight, routed, back=back)
    out = given.new_empty((len(given), stack.outputs(back=back)))
    for place in range(0, len(routed), size):
        chunk = routed[place : place + size]
        first, last = chunk[0][1], chunk[-1][2]
        if len(chunk) == 1:
            matrix = _matrices(weight, chunk)[0]
            torch.mm(given[first:last], matrix if back else matrix.T, out=out[first:last])
        else:
            out[first:last] = _multiplied(given[first:last], weight, chunk, back=back)
    return out


def _multiplied(
    given: torch.Tensor, weight: Any, chunk: list[Range], *, back: bool
) -> torch.Tensor:
    first = chunk[0][1]
    ends = torch.tensor([last - first for _, _, last in chunk], dtype=torch.int32)
    return _grouped_mm(given, _matrices(weight, chunk), ends.to(given.device), back=back)


def _matrices(weight: Any, chunk: list[Range]) -> torch.Tensor:
    experts = [expert for expert, _, _ in chunk]
    if experts[-1] - experts[0] == len(experts) - 1:
        return nf4.matrices(weight, experts[0], experts[-1] + 1)
    return nf4.chosen(weight, torch.tensor(experts, device=weight.device))


def by_row(given: torch.Tensor, weight: Any, groups: Groups, *, back: bool) -> torch.Tensor:
    """A matrix for each row, which nobody has to wait for; for few rows only."""
    matrices = nf4.chosen(weight, groups.experts)
    return torch.bmm(given.unsqueeze(1), matrices if back else matrices.mT).squeeze(1)


def by_slab(given: torch.Tensor, weight: Any, groups: Groups, *, back: bool) -> torch.Tensor:
    """Grouped products with a slab of every expert's outputs at a time, none of them waited for."""
    stack = nf4.stack_of(weight)
    width, slab = stack.outputs(back=back), stack.slab(back=back)
    if slab == width:
        return _grouped_mm(given, nf4.matrices(weight, 0, stack.count), groups.ends, back=back)
    out, scales = given.new_empty((len(given), width)), nf4.all_scales(weight)
    part_of_all = nf4.columns_of_all if back else nf4.rows_of_all
    for first in range(0, width, slab):
        last = min(first + slab, width)
        part = part_of_all(weight, scales, first, last)
        out[:, first:last] = _grouped_mm(given, part, groups.ends, back=back)
        del part
    return out


def _grouped_mm(
    given: torch.Tensor, matrices: torch.Tensor, ends: torch.Tensor, *, back: bool
) -> torch.Tensor:
    return functional.grouped_mm(given, matrices if back else matrices.mT, offs=ends)


def way(given: torch.Tensor, experts: int) -> Way:
    """The fastest way on a device, as bench/experts.py measures them.

    On a CPU what was just spelled out is still in the cache, and there is nothing to wait for.
    On a GPU waiting for the counts would stall every layer, and a matrix per row is less than
    all of them while rows are few. Before Ampere there are no grouped products.
    """
    if given.device.type != "cuda" or torch.cuda.get_device_capability(given.device) < (8, 0):
        return by_chunk
    return of_card(given, experts)


def of_card(given: torch.Tensor, experts: int) -> Way:
    """The fastest way on a card from Ampere on."""
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
