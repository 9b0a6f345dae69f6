"""Stacks of matrices in NF4: quantised matrix by matrix, and dequantised in parts.

A stack is a frozen `Params4bit`: two values a byte in (count * rows * columns / 2, 1), and in its
`quant_state` the shape (count, rows, columns), the type that values are dequantised to, and a
scale for each block of a row-major matrix.
"""

import math
from typing import Any

import torch
from bitsandbytes import functional as four_bit
from bitsandbytes.nn import Params4bit

from engine.budget.expert_tiles import Stack
from engine.budget.library_kernels import NF4_BLOCK, NF4_NESTED_BLOCK


def quantised(stack: torch.Tensor, *, double_quantization: bool = True) -> Params4bit:
    """Quantise a stack (count, rows, columns) of any floating type, as if it were done at once.

    One matrix is worked on at a time: quantising needs several copies of what it works on. Raises
    `ValueError` where a matrix isn't made of whole blocks.
    """
    count, rows, columns = stack.shape
    if rows * columns % NF4_BLOCK:
        raise ValueError(f"{rows} x {columns} weights do not split into blocks of {NF4_BLOCK}")
    packed = torch.empty((stack.numel() // 2, 1), dtype=torch.uint8, device=stack.device)
    scales = torch.empty(stack.numel() // NF4_BLOCK, device=stack.device)
    parts = zip(stack, packed.chunk(count), scales.chunk(count), strict=True)
    for matrix, packed_part, scales_part in parts:
        values, state = four_bit.quantize_4bit(
            matrix.contiguous(), blocksize=NF4_BLOCK, quant_type="nf4"
        )
        packed_part.copy_(values)
        scales_part.copy_(state.absmax)
    return Params4bit(
        packed,
        requires_grad=False,
        quant_state=_state(scales, stack, is_double=double_quantization),
        blocksize=NF4_BLOCK,
        compress_statistics=double_quantization,
        quant_type="nf4",
        bnb_quantized=True,
    )


def _state(scales: torch.Tensor, stack: torch.Tensor, *, is_double: bool) -> four_bit.QuantState:
    """Describe a packed stack; scales (blocks,) are float32, and packed too where `is_double`."""
    nested: dict[str, Any] = {}
    if is_double:
        nested["offset"] = scales.mean()
        scales, nested["state2"] = four_bit.quantize_blockwise(
            scales - nested["offset"], blocksize=NF4_NESTED_BLOCK
        )
    return four_bit.QuantState(
        absmax=scales,
        shape=stack.shape,
        dtype=stack.dtype,
        blocksize=NF4_BLOCK,
        code=four_bit.get_4bit_type("nf4", device=stack.device),
        quant_type="nf4",
        **nested,
    )


def stack_of(weight: Params4bit) -> Stack:
    """The shape of a quantised stack."""
    state = weight.quant_state
    count, rows, columns = state.shape
    return Stack(count, rows, columns, state.dtype.itemsize, state.blocksize)


def matrices(weight: Params4bit, first: int, last: int) -> torch.Tensor:
    """Dequantise matrices from `first` up to `last`: (last - first, rows, columns)."""
    count, rows, columns = weight.quant_state.shape
    packed = weight.data.view(count, -1)[first:last]
    per_matrix = rows * columns // weight.quant_state.blocksize
    scales = _scales(weight.quant_state, first * per_matrix, last * per_matrix)
    return _dequantised(weight, packed, scales, (last - first, rows, columns))


def matrices_at(weight: Params4bit, indices: torch.Tensor) -> torch.Tensor:
    """Dequantise the matrices of indices (n,), in their order: (n, rows, columns).

    One that is named twice is dequantised twice.
    """
    count, rows, columns = weight.quant_state.shape
    packed = weight.data.view(count, -1)[indices]
    scales = all_scales(weight).view(count, -1)[indices]
    return _dequantised(weight, packed, scales, (len(indices), rows, columns))


def rows_of_all(weight: Params4bit, scales: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Dequantise rows `first` to `last` of every matrix: (count, last - first, columns).

    `scales` are those of `all_scales`.
    """
    count, rows, columns = weight.quant_state.shape
    packed = weight.data.view(count, rows, -1)[:, first:last]
    scales = scales.view(count, rows, -1)[:, first:last]
    return _dequantised(weight, packed, scales, (count, last - first, columns))


def columns_of_all(weight: Params4bit, scales: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Dequantise columns `first` to `last` of every matrix: (count, rows, last - first).

    Both are multiples of the block size; `scales` are those of `all_scales`.
    """
    count, rows, _ = weight.quant_state.shape
    block_size = weight.quant_state.blocksize
    packed = weight.data.view(count, rows, -1)[:, :, first // 2 : last // 2]
    scales = scales.view(count, rows, -1)[:, :, first // block_size : last // block_size]
    return _dequantised(weight, packed, scales, (count, rows, last - first))


def all_scales(weight: Params4bit) -> torch.Tensor:
    """The scale of every block, (blocks,) in float32."""
    state = weight.quant_state
    return _scales(state, 0, math.prod(state.shape) // state.blocksize)


def _scales(state: four_bit.QuantState, first: int, last: int) -> torch.Tensor:
    """Scales of blocks `first` to `last`, in float32.

    They are nested in blocks of their own, which may reach over the ends of a matrix.
    """
    if not state.nested:
        scales: torch.Tensor = state.absmax[first:last]
        return scales
    size = state.state2.blocksize
    start, end = first // size, -(-last // size)
    nested: torch.Tensor = torch.ops.bitsandbytes.dequantize_blockwise.default(
        state.absmax[start * size : end * size].contiguous(),
        state.state2.absmax[start:end].contiguous(),
        state.state2.code,
        size,
        torch.float32,
    )
    nested += state.offset
    return nested[first - start * size : last - start * size]


def _dequantised(
    weight: Params4bit, packed: torch.Tensor, scales: torch.Tensor, shape: tuple[int, int, int]
) -> torch.Tensor:
    """Dequantise packed values with one float32 scale per block, to `shape` in the stack's type.

    bitsandbytes reads from the first address on, so that nothing may lie between. Rows of one
    block are what its kernels for every processor read right.
    """
    state = weight.quant_state
    values: torch.Tensor = torch.ops.bitsandbytes.dequantize_4bit.default(
        packed.contiguous().view(-1, 1),
        scales.contiguous().view(-1),
        state.blocksize,
        state.quant_type,
        (scales.numel(), state.blocksize),
        state.dtype,
    )
    return values.view(shape)
