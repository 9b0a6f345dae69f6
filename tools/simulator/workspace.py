"""Memory that CUDA kernels take and give back within one operation, from its arguments."""

from typing import Any

import torch

from engine.budget import library_kernels
from tools.simulator.tracker import Workspaces


def of_cuda() -> Workspaces:
    """Bytes per operation that the CUDA kernels hold inside."""
    aten = torch.ops.aten
    return {
        torch.ops.bitsandbytes.gemm_4bit.default: _gemm_4bit,
        aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
        aten._scaled_dot_product_efficient_attention_backward.default: _efficient_backward,
    }


def _gemm_4bit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    inputs, shape = args[0], args[2]
    rows = inputs.numel() // inputs.shape[-1]
    if rows <= library_kernels.GEMM_4BIT_FUSED_ROWS:
        return []
    scales = kwargs.get("absmax_8bit")
    count = 0 if scales is None else scales.numel()
    return library_kernels.gemm_4bit(shape[0] * shape[1], count, inputs.element_size())


def _flash_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    query, key = args[1], args[2]
    batch, heads, length, head_width = query.shape
    return library_kernels.flash_backward(
        batch, length, heads, key.shape[1], head_width, query.element_size()
    )


def _efficient_backward(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    batch, heads, length, head_width = args[1].shape
    return library_kernels.efficient_backward(batch, length, heads, head_width)
