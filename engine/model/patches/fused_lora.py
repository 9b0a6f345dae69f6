"""PEFT's plain LoRA layers, computed by the engine's kernel in training.

PEFT's compute base, A and B one after the other: in 16 bits the input is cast to the adapter's
float32 and back, and the output is made several times.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear, LoraLayer

from engine.hardware import kernel_choice
from engine.kernels.linear import lora_linear
from engine.model.protocols import AdaptedModel
from engine.written_for import WrittenFor

_LAYER = "peft.tuners.lora:Linear"
WRITTEN_FOR = WrittenFor(
    "peft",
    ">=0.20,<0.22",
    (
        f"{_LAYER}.forward",
        f"{_LAYER}.disable_adapters",
        f"{_LAYER}.merged",
        f"{_LAYER}.active_adapters",
        f"{_LAYER}.get_base_layer",
    ),
)


class FusedLoraLinear(Linear):
    """A LoRA layer on a frozen dense weight, with a forward pass of its own in training."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(..., inputs) of any floating type to (..., outputs) of the base weight's."""
        if not self.training or self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)
        (name,) = self.active_adapters
        weight = self.get_base_layer().weight
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        return lora_linear(x.to(weight.dtype), weight, down, up, self.scaling[name])


def use_fused_lora(model: AdaptedModel) -> bool:
    """Let plain LoRA on dense layers compute so; whether that is all of the model's adapter.

    DoRA, dropout, biases, experts and 4-bit weights stay PEFT's. What is saved of a layer stays
    the same.
    """
    (adapter,) = model.peft_config.values()
    if not kernel_choice.fuses_lora(
        is_dora=adapter.use_dora,
        dropout=adapter.lora_dropout,
        is_quantised=getattr(model, "is_loaded_in_4bit", False),
    ):
        return False
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        if type(layer) is Linear and _is_dense(layer.get_base_layer()) and not _has_bias(layer):
            layer.__class__ = FusedLoraLinear
    return all(isinstance(layer, FusedLoraLinear) for layer in layers)


def _is_dense(base: torch.nn.Module) -> bool:
    return type(base) is torch.nn.Linear and base.bias is None


def _has_bias(layer: LoraLayer) -> bool:
    return any(layer.lora_bias.values())
