"""Memory that CUDA kernels take and give back within one operation, from its arguments.

Read from the sources of PyTorch 2.13 (aten/src/ATen/native/transformers/cuda) and bitsandbytes 0.50
(backends/cuda/ops.py); none of it was measured on a card.
"""

from typing import Any

import torch

from tools.simulator.tracker import Workspaces

_FUSED_ROWS = 512
"""Rows up to which bitsandbytes multiplies by 4-bit weights without spelling them out first."""


def of_cuda() -> Workspaces:
    """Bytes per operation that the CUDA kernels hold inside."""
    aten = torch.ops.aten
    return {
        torch.ops.bitsandbytes.gemm_4bit.default: _gemm_4bit,
        aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
        aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    }


def _gemm_4bit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """The weight in 16 bits, and its scales in float32 where they are quantised themselves."""
    inputs, shape = args[0], args[2]
    rows = inputs.numel() // inputs.shape[-1]
    if rows <= _FUSED_ROWS:
        return []
    scales = kwargs.get("absmax_8bit")
    spelled_out = [] if scales is None else [scales.numel() * 4] * 2
    return [*spelled_out, shape[0] * shape[1] * inputs.element_size()]


def _flash_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """dq_accum and softmax_d in float32; keys and values per query head where these share them."""
    query, key = args[1], args[2]
    batch, heads, length, width = query.shape
    padded_length = _up(length, 128)
    padded_width = 256 if 192 < width <= 256 else _up(width, 32)
    sizes = [batch * heads * padded_length * padded_width * 4, batch * heads * padded_length * 4]
    if key.shape[1] != heads:
        sizes += [batch * key.shape[2] * heads * width * query.element_size()] * 2
    return sizes


def _efficient_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """delta, and the float32 tiles in which gradients are summed (kernel_backward.h)."""
    query, key = args[1], args[2]
    batch, heads, length, width = query.shape
    block = 64 if width > 128 else 128
    tiles = batch * heads * _up(length, block) * _up(width, 128 if width > 64 else 64) * 4
    if width > block:
        splits = max(1, min(-(-key.shape[2] // block), 200 // (batch * heads)))
        tiles += 2 * batch * heads * splits * block * _up(width, block) * 4
    return [batch * heads * _up(length, 32) * 4, tiles]


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
