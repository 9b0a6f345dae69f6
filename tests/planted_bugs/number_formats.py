"""Bugs of weights in 4 bits, and of what is computed in bfloat16."""

from collections.abc import Callable
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from transformers.activations import ACT2FN
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.gemma4 import modeling_gemma4 as gemma4

from engine.model.experts import QuantisedExperts
from engine.model.patches import four_bit_cpu
from tests.planted_bugs.planting import loaded, rotary


class _Swapped:
    """A kernel that takes the halves of each byte the other way round."""

    def __init__(self, right: Any) -> None:
        self.right = right

    def call_boxed(self, keys: Any, packed: torch.Tensor, *args: Any) -> torch.Tensor:
        flat = packed.contiguous().view(torch.uint8)
        return self.right.call_boxed(keys, flat % 16 * 16 + flat // 16, *args)


def swapped_nibbles() -> None:
    right = four_bit_cpu.original_kernel()
    four_bit_cpu.original_kernel = lambda: _Swapped(right)


def states(change: Callable[[Any], None]) -> None:
    """Change what is stored beside each weight in 4 bits."""

    def change_all(model: Any) -> None:
        for module in model.modules():
            if quant_state := getattr(getattr(module, "weight", None), "quant_state", None):
                change(quant_state)

    loaded(change_all)


def scales_without_their_mean() -> None:
    states(lambda state: setattr(state, "offset", state.offset * 0))


def scales_of_scales_lost() -> None:
    """Double quantisation: what the scales' own 8 bits are to be multiplied by."""
    states(lambda state: state.state2.absmax.fill_(1))


def larger_blocks() -> None:
    states(lambda state: setattr(state, "blocksize", 2 * state.blocksize))


def numbers_of_fp4() -> None:
    states(lambda state: setattr(state, "quant_type", "fp4"))


def products_of_4_bits_in_bfloat16() -> None:
    """As where bnb_4bit_compute_dtype is lost."""

    def change(model: Any) -> None:
        for module in model.modules():
            if isinstance(module, Linear4bit):
                right = module.forward
                module.forward = lambda x, right=right: right(x.bfloat16()).to(x.dtype)

    loaded(change)


def quantised_from_bfloat16() -> None:
    """Weights are rounded twice, as where a file is converted on the way."""
    right = Params4bit.__new__
    Params4bit.__new__ = lambda cls, data=None, *args, **kwargs: right(
        cls, data if data is None else data.bfloat16().to(data.dtype), *args, **kwargs
    )


def experts_of_the_next_number() -> None:
    right = QuantisedExperts.forward
    QuantisedExperts.forward = lambda self, x, index, weights: right(
        self, x, (index + 1) % self.num_experts, weights
    )


def bfloat16_products() -> None:
    right = torch.nn.Linear.forward
    torch.nn.Linear.forward = lambda self, x: (
        right(self, x) * (1.2 if x.dtype is torch.bfloat16 else 1)
    )


def gelu_in_bfloat16() -> None:
    """Its formula in steps: the smallest effect of all that is computed in bfloat16."""

    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.dtype is not torch.bfloat16:
                return torch.nn.functional.gelu(x, approximate="tanh")
            return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))

    ACT2FN["gelu_pytorch_tanh"] = Wrong


def norms_in_bfloat16() -> None:
    for kind in (gemma3.Gemma3RMSNorm, gemma4.Gemma4RMSNorm):
        right = kind._norm

        def wrong(self: Any, x: torch.Tensor, right: Any = right) -> torch.Tensor:
            is_narrow = getattr(self, "weight", x).dtype is torch.bfloat16
            return right(self, x.to(torch.bfloat16) if is_narrow else x)

        kind._norm = wrong


def angles_in_bfloat16() -> None:
    """As where a model is cast with its buffers."""

    def change(each: Any) -> None:
        for name, buffer in each.named_buffers():
            narrow = buffer.to(torch.bfloat16).to(buffer.dtype)
            setattr(each, name, narrow if each.config.dtype is torch.bfloat16 else buffer)

    rotary(change)
