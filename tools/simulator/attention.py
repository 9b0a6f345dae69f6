"""The attention kernel that a CUDA card would choose, as an operation that fake tensors know."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from engine.budget.library_kernels import FLASH_HEAD_WIDTH
from engine.budget.step_shape import StepShape

aten = torch.ops.aten
_HALVES = {torch.bfloat16, torch.float16}


def of_card(case: StepShape) -> Callable[..., torch.Tensor]:
    """`scaled_dot_product_attention` as on a case's CUDA card.

    Flash attention takes half precision, heads of up to 256 and no mask. All else falls to the
    memory-efficient kernel, or where query heads share keys, and in bfloat16 on a card without
    flash attention, to plain operations (`can_use_flash_attention` and
    `can_use_mem_efficient_attention` in PyTorch's sdp_utils.cpp).
    """

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        query, key, value = (_cast(tensor) for tensor in (query, key, value))
        fits = query.shape[-1] <= FLASH_HEAD_WIDTH and query.dtype in _HALVES
        if case.has_flash and fits and attn_mask is None:
            flash = aten._scaled_dot_product_flash_attention
            attended: torch.Tensor = flash(
                query, key, value, dropout_p, is_causal, False, scale=scale
            )[0]
            return attended
        is_half = query.dtype == torch.bfloat16
        is_fused = case.has_efficient_attention and (case.has_flash or not is_half)
        if enable_gqa or not is_fused:
            return spelled_out(
                query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
            )
        return _efficient(query, key, value, attn_mask, dropout_p, is_causal, scale)

    return attend


def spelled_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` in plain operations, with all scores.

    Autocast casts what goes in, and is off within, as for every operation that it knows.
    """
    query, key, value = (_cast(tensor) for tensor in (query, key, value))
    operation: Any = aten._scaled_dot_product_attention_math
    with torch.autocast("cpu", enabled=False):
        attended: torch.Tensor = operation(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )[0]
    return attended


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    bias = None if mask is None else _bias(mask, query, key)
    saves = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    operation: Any = aten._scaled_dot_product_efficient_attention
    attended: torch.Tensor = operation(
        query, key, value, bias, saves, dropout_p, is_causal, scale=scale
    )[0]
    return attended


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """A boolean mask in the query's type, its rows padded to 16 (`pad_bias` in attention.cpp)."""
    if mask.dtype == torch.bool:
        hidden = mask.logical_not()
        never, always = (
            torch.scalar_tensor(value, dtype=query.dtype, device=query.device)
            for value in (float("-inf"), 0.0)
        )
        mask = torch.where(hidden, never, always)
        del hidden
    if short := -mask.shape[-1] % 16:
        mask = functional.pad(mask, (0, short))[..., : mask.shape[-1]]
    return mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])


def _cast(tensor: torch.Tensor) -> torch.Tensor:
    """Autocast runs attention in its own type, on CUDA and on the CPU."""
    is_cast = torch.is_autocast_enabled("cpu") and tensor.dtype == torch.float32
    return tensor.to(torch.get_autocast_dtype("cpu")) if is_cast else tensor
