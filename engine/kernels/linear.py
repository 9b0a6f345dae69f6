"""A linear layer with LoRA in one operation, which saves its input once for all of its products."""

from typing import Any

import torch
from peft.tuners.lora import Linear, LoraLayer


class LeanLinear(Linear):
    """PEFT's LoRA layer on a frozen dense weight, with a forward pass of its own in training.

    PEFT's computes base, A and B one after the other: the input is saved for each of the first
    two, once in the adapter's float32, and the output is made three times.
    """

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(..., inputs) to (..., outputs), in the base weight's type."""
        if not self.training or self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        weight = self.get_base_layer().weight
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        return _Lora.apply(x.to(weight.dtype), weight, down, up, self.scaling[name])


class _Lora(torch.autograd.Function):
    """y = x W^T + s x A^T B^T, with gradients for x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        given: torch.Tensor,
        weight: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        ctx.scaling, ctx.shape, ctx.trained = scaling, given.shape, down.dtype
        flat = given.reshape(-1, given.shape[-1])
        down, up = down.to(weight.dtype), up.to(weight.dtype)
        inner = flat @ down.t()
        ctx.save_for_backward(flat, weight, down, up, inner)
        made = (flat @ weight.t()).addmm_(inner, up.t(), alpha=scaling)
        return made.view(*given.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        flat, weight, down, up, inner = ctx.saved_tensors
        gradient = given[0].reshape(-1, weight.shape[0])
        of_up = (gradient.t() @ inner).mul_(ctx.scaling).to(ctx.trained)
        of_inner = (gradient @ up).mul_(ctx.scaling)
        of_down = (of_inner.t() @ flat).to(ctx.trained)
        of_given = None
        if ctx.needs_input_grad[0]:
            of_given = (gradient @ weight).addmm_(of_inner, down).view(ctx.shape)
        return of_given, None, of_down, of_up, None


def lean(model: torch.nn.Module) -> bool:
    """Let plain LoRA on dense layers compute so; whether that is all of the model's adapter.

    DoRA, dropout, biases and 4-bit weights stay PEFT's. What is saved of a layer stays the same.
    """
    adapted = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for module in adapted:
        if _is_plain(module):
            module.__class__ = LeanLinear
    return all(isinstance(module, LeanLinear) for module in adapted)


def _is_plain(module: Any) -> bool:
    base = module.get_base_layer()
    return (
        type(module) is Linear
        and type(base) is torch.nn.Linear
        and base.bias is None
        and not module.lora_variant
        and not any(module.lora_bias.values())
        and all(isinstance(one, torch.nn.Identity) for one in module.lora_dropout.values())
    )
