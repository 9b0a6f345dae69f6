"""Operations that fake tensors can't run, such as results that are as large as a mask is true."""

from typing import Any

import torch

from engine.budget.step_shape import StepShape
from tools.simulator.tracker import Substitutes

aten = torch.ops.aten


def substitutes(case: StepShape) -> Substitutes:
    """The head's selection of supervised tokens, by their count in the case."""
    return {
        aten.index.Tensor: _selecting(case.scored_tokens),
        aten.index_put.default: _putting(case.scored_tokens),
        aten._index_put_impl_.default: _putting(case.scored_tokens, aten._index_put_impl_.default),
        aten.masked_scatter_backward.default: _gathering,
        aten._grouped_mm.default: _grouped,
    }


def _places(mask: torch.Tensor, count: int) -> list[torch.Tensor]:
    """Row and column of each true element, as `nonzero` gives them."""
    both = torch.empty((count, mask.dim()), dtype=torch.int64, device=mask.device)
    return list(both.unbind(1))


def _by_place(indices: Any, count: int) -> Any:
    first = indices[0]
    if first is None or first.dtype != torch.bool:
        return indices
    return [*_places(first, count), *indices[1:]]


def _selecting(count: int) -> Any:
    def select(tensor: torch.Tensor, indices: Any) -> Any:
        return aten.index.Tensor(tensor, _by_place(indices, count))

    return select


def _putting(count: int, function: Any = aten.index_put.default) -> Any:
    def put(tensor: torch.Tensor, indices: Any, *rest: Any, **named: Any) -> Any:
        return function(tensor, _by_place(indices, count), *rest, **named)

    return put


def _gathering(gradient: torch.Tensor, mask: torch.Tensor, sizes: Any) -> torch.Tensor:
    return gradient.new_empty(sizes)


def _grouped(left: torch.Tensor, right: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """PyTorch's rule for fake tensors knows bfloat16 only; its kernels take more."""
    if left.dtype == torch.bfloat16 or right.dim() != 3:
        return aten._grouped_mm.default(left, right, *rest, **named)
    return left.new_empty((left.shape[0], right.shape[-1]))
