"""Stacks of matrices in NF4: quantised matrix by matrix, and spelled out in parts."""

import math
from typing import Any

import torch
from bitsandbytes import functional as four_bit
from bitsandbytes.nn import Params4bit

from engine.budget.expert_tiles import BLOCK_SIZE, Stack

_NESTED_BLOCK_SIZE = 256
"""Scales per scale where these are quantised again."""


def quantised(
    stack: torch.Tensor, block_size: int = BLOCK_SIZE, *, double_quantization: bool = True
) -> Params4bit:
    """A stack of equal matrices as a frozen 4-bit parameter, equal to quantising it at once.

    One matrix is worked on at a time: quantising needs several copies of what it is given.
    """
    count, rows, columns = stack.shape
    if rows * columns % block_size:
        raise ValueError(f"{rows} x {columns} weights do not split into blocks of {block_size}")
    packed = torch.empty((stack.numel() // 2, 1), dtype=torch.uint8, device=stack.device)
    scales = torch.empty(stack.numel() // block_size, device=stack.device)
    for matrix, part, of_part in zip(stack, packed.chunk(count), scales.chunk(count), strict=True):
        found, state = four_bit.quantize_4bit(
            matrix.contiguous(), blocksize=block_size, quant_type="nf4"
        )
        part.copy_(found)
        of_part.copy_(state.absmax)
    state = _state(scales, stack, block_size, is_double=double_quantization)
    return Params4bit(
        packed,
        requires_grad=False,
        quant_state=state,
        blocksize=block_size,
        compress_statistics=double_quantization,
        quant_type="nf4",
        bnb_quantized=True,
    )


def _state(
    scales: torch.Tensor, stack: torch.Tensor, block_size: int, *, is_double: bool
) -> four_bit.QuantState:
    nested: dict[str, Any] = {}
    if is_double:
        nested["offset"] = scales.mean()
        scales, nested["state2"] = four_bit.quantize_blockwise(
            scales - nested["offset"], blocksize=_NESTED_BLOCK_SIZE
        )
    return four_bit.QuantState(
        absmax=scales,
        shape=stack.shape,
        dtype=stack.dtype,
        blocksize=block_size,
        code=four_bit.get_4bit_type("nf4", device=stack.device),
        quant_type="nf4",
        **nested,
    )


def stack_of(weight: Any) -> Stack:
    """The shape of a quantised stack."""
    state = weight.quant_state
    count, rows, columns = state.shape
    return Stack(count, rows, columns, state.dtype.itemsize, state.blocksize)


def matrices(weight: Any, first: int, last: int) -> torch.Tensor:
    """Matrices `first` to `last` of a quantised stack, spelled out."""
    count, rows, columns = weight.quant_state.shape
    size = rows * columns
    packed = weight.data.view(count, -1)[first:last]
    per_matrix = size // weight.quant_state.blocksize
    scales = _scales(weight.quant_state, first * per_matrix, last * per_matrix)
    return _spelled_out(weight, packed, scales, (last - first, rows, columns))


def chosen(weight: Any, numbers: torch.Tensor) -> torch.Tensor:
    """The matrices of these numbers, in their order; what is repeated is spelled out again."""
    count, rows, columns = weight.quant_state.shape
    packed = weight.data.view(count, -1)[numbers]
    scales = all_scales(weight).view(count, -1)[numbers]
    return _spelled_out(weight, packed, scales, (len(numbers), rows, columns))


def rows_of_all(weight: Any, scales: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Rows `first` to `last` of every matrix; `scales` are those of `all_scales`."""
    count, rows, columns = weight.quant_state.shape
    packed = weight.data.view(count, rows, -1)[:, first:last]
    scales = scales.view(count, rows, -1)[:, first:last]
    return _spelled_out(weight, packed, scales, (count, last - first, columns))


def columns_of_all(weight: Any, scales: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Columns `first` to `last` of every matrix, both multiples of the block size."""
    count, rows, _ = weight.quant_state.shape
    block_size = weight.quant_state.blocksize
    packed = weight.data.view(count, rows, -1)[:, :, first // 2 : last // 2]
    scales = scales.view(count, rows, -1)[:, :, first // block_size : last // block_size]
    return _spelled_out(weight, packed, scales, (count, rows, last - first))


def all_scales(weight: Any) -> torch.Tensor:
    """The scale of every block, in float32."""
    state = weight.quant_state
    return _scales(state, 0, math.prod(state.shape) // state.blocksize)


def _scales(state: Any, first: int, last: int) -> torch.Tensor:
    """Scales are nested in blocks that may reach over the ends of a matrix."""
    if not state.nested:
        scales: torch.Tensor = state.absmax[first:last]
        return scales
    size = state.state2.blocksize
    start, end = first // size, -(-last // size)
    found: torch.Tensor = torch.ops.bitsandbytes.dequantize_blockwise.default(
        state.absmax[start * size : end * size].contiguous(),
        state.state2.absmax[start:end].contiguous(),
        state.state2.code,
        size,
        torch.float32,
    )
    found += state.offset
    return found[first - start * size : last - start * size]


def _spelled_out(
    weight: Any, packed: torch.Tensor, scales: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """bitsandbytes reads from the first address on, so that nothing may lie between.

    Rows of one block are what its kernels for every processor read right.
    """
    state = weight.quant_state
    found: torch.Tensor = torch.ops.bitsandbytes.dequantize_4bit.default(
        packed.contiguous().view(-1, 1),
        scales.contiguous().view(-1),
        state.blocksize,
        state.quant_type,
        (scales.numel(), state.blocksize),
        state.dtype,
    )
    return found.view(shape)
