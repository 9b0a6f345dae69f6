"""What torch.cuda says of the pretended card of card.cpp, and the kernels that it alone would have.

`install` makes of this process one whose torch has a CUDA card: PRETENDED_CARD is the library's
path, PRETENDED_CARDS how many are visible, PRETENDED_CAPABILITY and PRETENDED_MIB what they are,
PRETENDED_USED_MIB what others hold of their memory.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

NAME = "Pretended Card"
_KERNELS = torch.library.Library("aten", "IMPL", "CUDA")
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_MATH, _FLASH, _EFFICIENT, _CUDNN = 0, 1, 2, 3
_HALVES = {torch.bfloat16, torch.float16}
_FLASH_HEAD_WIDTH = 256
_NEW = (9, 10)
"""Majors of capabilities with kernels of cuDNN for attention, and one for grouped products."""


def install() -> None:
    """Let torch have the card. What looks for a driver's libraries is imported before."""
    import bitsandbytes

    path = os.environ["PRETENDED_CARD"]
    torch.ops.load_library(path)
    bitsandbytes.functional.lib = _Driver(ctypes.CDLL(path), bitsandbytes.functional.lib)
    total = int(os.environ.get("PRETENDED_MIB", "12288")) << 20
    used = int(os.environ.get("PRETENDED_USED_MIB", "0")) << 20
    torch.ops.pretended.set_total(total - used)
    for name, function in {**_facts(total, used), **_states()}.items():
        setattr(torch.cuda, name, function)
    torch.backends.cuda.is_built = lambda: True
    _KERNELS.impl("_fused_sdp_choice", _choice)
    _KERNELS.impl("_scaled_dot_product_flash_attention", _flash)
    _KERNELS.impl("_scaled_dot_product_flash_attention_backward", _flash_backward)
    _KERNELS.impl("_scaled_dot_product_cudnn_attention", _cudnn)
    _KERNELS.impl("_scaled_dot_product_efficient_attention", _efficient)
    _KERNELS.impl("_scaled_dot_product_efficient_attention_backward", _efficient_backward)
    _KERNELS.impl("addmm.dtype_out", _wide_addmm)
    _KERNELS.impl("histc", _histogram)
    _KERNELS.impl("_grouped_mm", _grouped_mm)


class _Driver:
    """bitsandbytes' own library for the CPU, with CUDA's managed memory."""

    def __init__(self, card: Any, library: Any) -> None:
        card.cget_managed_ptr.restype = ctypes.c_void_p
        self._card, self._library = card, library

    def __getattr__(self, name: str) -> Any:
        if name in {"cget_managed_ptr", "cprefetch", "cfill_fp32", "cfill_uint8"}:
            return getattr(self._card, name)
        return getattr(self._library, name)


def _visible() -> int:
    """Cards of the machine, but for those that CUDA_VISIBLE_DEVICES leaves out."""
    cards = int(os.environ.get("PRETENDED_CARDS", "1"))
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    return cards if names is None else min(cards, len([*filter(None, names.split(","))]))


def _facts(total: int, used: int) -> dict[str, Any]:
    """What the driver tells, by the names of torch.cuda."""
    cards = _visible()
    major, minor = map(int, os.environ.get("PRETENDED_CAPABILITY", "8.6").split("."))
    properties = SimpleNamespace(
        name=NAME, total_memory=total, major=major, minor=minor, uuid="aaaa-1111",
        multi_processor_count=28, is_integrated=False, gcnArchName="",
    )  # fmt: skip

    def memory() -> list[int]:
        allocated: list[int] = torch.ops.pretended.memory()
        return allocated

    return {
        "is_available": lambda: cards > 0,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda including_emulation=True: (
            _capability() >= (8, 0) or including_emulation
        ),
        "device_count": lambda: cards,
        "current_device": lambda: 0,
        "get_device_capability": lambda device=None: (major, minor),
        "get_device_name": lambda device=None: NAME,
        "get_device_properties": lambda device=None: properties,
        "mem_get_info": lambda device=None: (total - used - memory()[0], total),
        "memory_allocated": lambda device=None: memory()[0],
        "memory_reserved": lambda device=None: memory()[0],
        "max_memory_allocated": lambda device=None: memory()[1],
        "max_memory_reserved": lambda device=None: memory()[1],
    }


def _states() -> dict[str, Any]:
    """What is done to the card, by the names of torch.cuda."""

    @contextlib.contextmanager
    def device(_device: Any = None) -> Iterator[None]:
        yield

    def nothing(*_: Any, **__: Any) -> None:
        """Has no meaning here."""

    def synchronize(_device: Any = None) -> None:
        torch.ops.pretended.count("waits")
        torch.ops.pretended.count("waits in synchronize")

    cards = _visible()
    state = torch.zeros(16, dtype=torch.uint8)
    stream = SimpleNamespace(
        cuda_stream=0, synchronize=synchronize, wait_stream=nothing, record_event=nothing
    )
    names = (
        "_lazy_init", "init", "set_device", "empty_cache", "manual_seed", "manual_seed_all",
        "ipc_collect", "set_rng_state", "set_rng_state_all", "set_per_process_memory_fraction",
    )  # fmt: skip
    return {
        **dict.fromkeys(names, nothing),
        "reset_peak_memory_stats": lambda device=None: torch.ops.pretended.forget_most(),
        "synchronize": synchronize,
        "device": device,
        "device_of": device,
        "stream": device,
        "current_stream": lambda device=None: stream,
        "default_stream": lambda device=None: stream,
        "get_rng_state": lambda device=None: state.clone(),
        "get_rng_state_all": lambda: [state.clone()] * cards,
    }


def _capability() -> tuple[int, int]:
    """As torch tells it now: a test may set it."""
    return torch.cuda.get_device_capability()


def _choice(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> int:
    """The kernel that a card of this capability would take (PyTorch's sdp_utils.cpp)."""
    backends, capability = torch.backends.cuda, _capability()
    is_half = query.dtype in _HALVES and (query.dtype != torch.bfloat16 or capability >= (8, 0))
    if capability[0] in _NEW and is_half and backends.cudnn_sdp_enabled():
        return _CUDNN
    fits_flash = is_half and capability >= (8, 0) and query.shape[-1] <= _FLASH_HEAD_WIDTH
    if fits_flash and attn_mask is None and backends.flash_sdp_enabled():
        return _FLASH
    shares_keys = query.shape[1] != key.shape[1]
    takes = is_half or query.dtype == torch.float32
    if takes and not shares_keys and backends.mem_efficient_sdp_enabled():
        return _EFFICIENT
    return _MATH


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    torch.ops.pretended.count("flash attention")
    out, normaliser = _CPU_ATTENTION(query, key, value, dropout_p, is_causal, scale=scale)
    seed = torch.zeros((), dtype=torch.int64)
    length = query.shape[2]
    return out, normaliser, None, None, length, key.shape[2], seed, seed, query.new_empty(0)


def _flash_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    out: torch.Tensor,
    normaliser: torch.Tensor,
    _cumulative_q: Any,
    _cumulative_k: Any,
    _longest_q: int,
    _longest_k: int,
    dropout_p: float,
    is_causal: bool,
    _seed: Any,
    _offset: Any,
    *,
    scale: float | None = None,
) -> Any:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        gradient, query, key, value, out, normaliser, dropout_p, is_causal, scale=scale
    )


def _cudnn(*_: Any, **__: Any) -> Any:
    raise AssertionError("attention of cuDNN was chosen, which plans anew for every shape")


def _efficient(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | None,
    compute_log_sumexp: bool,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    torch.ops.pretended.count("memory-efficient attention")
    out, normaliser = _CPU_ATTENTION(
        query, key, value, dropout_p, is_causal, attn_mask=attn_bias, scale=scale
    )
    seed = torch.zeros((), dtype=torch.int64)
    return out, normaliser, seed, seed


def _efficient_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_bias: torch.Tensor | None,
    out: torch.Tensor,
    normaliser: torch.Tensor,
    _seed: Any,
    _offset: Any,
    dropout_p: float,
    _wanted: Any,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Any, ...]:
    gradients = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        gradient, query, key, value, out, normaliser, dropout_p, is_causal,
        attn_mask=attn_bias, scale=scale,
    )  # fmt: skip
    return *gradients, None


def _wide_addmm(
    onto: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    out_dtype: torch.dtype,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: torch.Tensor,
) -> torch.Tensor:
    """A product of 16-bit factors that is summed up in float32."""
    product = left.to(out_dtype) @ right.to(out_dtype)
    return out.copy_(beta * onto + alpha * product)


def _histogram(values: torch.Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    """Of whole numbers too, which the CPU's does not take."""
    out = torch.empty(bins, dtype=torch.float32, device=values.device)
    return torch.ops.aten.histc.out(values.float(), bins, min, max, out=out).to(values.dtype)


def _grouped_mm(
    rows: torch.Tensor,
    matrices: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: Any = None,
    out_dtype: Any = None,
) -> torch.Tensor:
    """From Hopper on one kernel in bfloat16, of which nobody has to wait for the groups' ends."""
    if rows.dtype != torch.bfloat16 or _capability()[0] not in _NEW:
        composite = torch._C.DispatchKey.CompositeExplicitAutograd
        spelled_out: Any = torch.ops.aten._grouped_mm.default
        return spelled_out._op_dk(composite, rows, matrices, offs, bias, out_dtype)
    torch.ops.pretended.count("grouped products")
    return torch.ops.pretended.grouped_mm(rows, matrices, offs)
