"""A linear layer with LoRA in one operation, which makes its output once."""

from typing import Any

import torch


def lora_linear(
    inputs: torch.Tensor, weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Compute `x W^T + scaling * x A^T B^T`, with gradients for x, A and B, none for W.

    Inputs x are (..., inputs), the weight W (outputs, inputs), `down` A (rank, inputs), `up` B
    (outputs, rank); the result is (..., outputs). Inputs and result are of the weight's type, and
    all products are computed in it; gradients of A and B are of A's type.
    """
    return _LoraLinear.apply(inputs, weight, down, up, scaling)


class _LoraLinear(torch.autograd.Function):
    """Saves inputs (tokens, inputs) and their products with A (tokens, rank), and no output."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        """As `lora_linear`; leading dimensions are one while it computes."""
        ctx.scaling, ctx.shape, ctx.trained_dtype = scaling, inputs.shape, down.dtype
        flat = inputs.reshape(-1, inputs.shape[-1])
        down, up = down.to(weight.dtype), up.to(weight.dtype)
        inner = flat @ down.t()
        ctx.save_for_backward(flat, weight, down, up, inner)
        outputs = (flat @ weight.t()).addmm_(inner, up.t(), alpha=scaling)
        return outputs.view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """(..., outputs) to gradients of the inputs, of A and of B."""
        flat, weight, down, up, inner = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])
        of_up = (gradient.t() @ inner).mul_(ctx.scaling).to(ctx.trained_dtype)
        of_inner = (gradient @ up).mul_(ctx.scaling)
        of_down = (of_inner.t() @ flat).to(ctx.trained_dtype)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = (gradient @ weight).addmm_(of_inner, down).view(ctx.shape)
        return of_inputs, None, of_down, of_up, None
