"""Which kernel computes attention, for every shape of heads, mask and type that Gemmas have."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from engine.card_stages.card_trial import CardTrial, Case, Part
from engine.gemma import catalog
from engine.units import GIB

_MARK = "_scaled_dot_product_"
_STAND_INS = ("_for_cpu", "_for_cpu_backward")


def parts(trial: CardTrial) -> Iterator[Part]:
    """Forward and backward of one layer's attention: the kernel by its name, and its peak."""
    # As every run has it.
    torch.backends.cuda.enable_cudnn_sdp(False)
    length = 64 if trial.is_tiny else 2048
    cases: list[Case] = []
    for heads, key_heads, width in _shapes(is_tiny=trial.is_tiny):
        for mask in ("causal", "masked"):
            for dtype in ("bfloat16", "float32"):
                name = f"{heads} heads of {width}, {key_heads} of keys, {mask}, {dtype}"
                shape = (heads, key_heads, width, length)
                cases.append((name, partial(_measured, shape, mask, getattr(torch, dtype))))
    yield from trial.each(cases)


def _shapes(*, is_tiny: bool) -> list[tuple[int, int, int]]:
    """Heads, heads of keys, and their width, each once, over all Gemmas whose shape is known."""
    names = catalog.names()[:1] if is_tiny else catalog.names()
    shapes = {
        (gemma.heads, layer.kv_heads, layer.head_width)
        for gemma in map(catalog.variant_of, names)
        for layer in gemma.layers
    }
    return sorted(shapes, key=lambda shape: (shape[2], shape))


def _measured(shape: tuple[int, int, int, int], mask: str, dtype: torch.dtype) -> Part:
    heads, key_heads, width, length = shape

    def drawn(count: int) -> torch.Tensor:
        numbers = torch.randn(1, count, length, width, device="cuda", dtype=dtype)
        return numbers.requires_grad_(True)

    query, key, value = drawn(heads), drawn(key_heads), drawn(key_heads)
    module: Any = SimpleNamespace(
        num_key_value_groups=heads // key_heads, is_causal=True, training=True
    )
    below = torch.ones(length, length, device="cuda", dtype=torch.bool).tril()
    rows = below[None, None] if mask == "masked" else None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        out, _ = sdpa_attention_forward(module, query, key, value, rows, scaling=width**-0.5)
        out.sum().backward()
        torch.cuda.synchronize()
    peak_bytes = torch.cuda.max_memory_allocated() - before
    kernels = {event.key for event in profile.key_averages() if _MARK in event.key}
    # On the tests' card a CPU's kernel does the work of each.
    names = sorted({_name(kernel) for kernel in kernels if not kernel.endswith(_STAND_INS)})
    return {"kernel": " and ".join(names) or "none", "peak_gib": round(peak_bytes / GIB, 4)}


def _name(operator: str) -> str:
    return (
        operator.partition(_MARK)[2].removesuffix("_backward").replace("attention", "").strip("_")
    )
