"""Tries a GPU with what a run needs of it: `python -m engine.kernels.probe cuda` says it as JSON.

It allocates and multiplies; on a card it sends a weight through bitsandbytes' NF4 and back, and
runs one Triton kernel, each with what went wrong. It has not been run on a GPU yet; `cpu` is its
twin.
"""

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

_ROWS = 64


def _double(values: Any, size: Any) -> None:
    """A kernel's body, as Triton reads it."""
    at = tl.arange(0, size)
    tl.store(values + at, tl.load(values + at) * 2)


tl: Any = None
"""Triton's language, by the name under which it is looked up in the kernel's module."""


def answers(device: str) -> dict[str, Any]:
    """Torch's version and its CUDA's, how many cards it sees, and the error of each part.

    One that works has an empty error, and so has one that nothing uses on a device.
    """
    answer: dict[str, Any] = {"torch": torch.__version__, "cards": torch.cuda.device_count()}
    answer["cuda"] = torch.version.cuda or torch.version.hip or ""
    answer["product"] = _error_of(partial(_multiply, device))
    if device == "cuda":
        answer["nf4"] = answer["product"] or _error_of(_quantise)
        answer["triton"] = answer["product"] or _error_of(_double_by_triton)
    return answer


def _error_of(trial: Callable[[], bool]) -> str:
    try:
        return "" if trial() else "it gives wrong numbers"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]


def _multiply(device: str) -> bool:
    """In float32, and in bfloat16 where every run computes in it: Macs have it from macOS 14 on."""
    types = [torch.float32] if device == "cuda" else [torch.float32, torch.bfloat16]
    ones = [torch.ones(_ROWS, _ROWS, device=device, dtype=dtype) for dtype in types]
    return all(bool((each @ each == _ROWS).all()) for each in ones)


def _quantise() -> bool:
    from bitsandbytes import functional

    weight = torch.linspace(-1, 1, _ROWS * _ROWS, device="cuda").reshape(_ROWS, _ROWS)
    codes, state = functional.quantize_4bit(weight, quant_type="nf4")
    return float((functional.dequantize_4bit(codes, state) - weight).abs().max()) < 0.2


def _double_by_triton() -> bool:
    global tl
    triton, tl = (importlib.import_module(name) for name in ("triton", "triton.language"))
    _double.__annotations__["size"] = tl.constexpr
    values = torch.ones(_ROWS, device="cuda")
    triton.jit(_double)[(1,)](values, _ROWS)
    return bool((values == 2).all())


if __name__ == "__main__":
    print(json.dumps(answers(sys.argv[1])))
