"""Bugs of adapters in PEFT: their scale, DoRA, dropout, and what is saved of them."""

from typing import Any

import torch
from peft import peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.dora import DoraLinearLayer

from tests.planted_bugs.planting import returned


def rank_instead_of_its_root() -> None:
    """use_rslora is lost."""
    right = LoraLayer.update_layer

    def wrong(self: Any, name: str, r: int, lora_alpha: int, *args: Any, **kwargs: Any) -> None:
        right(self, name, r, lora_alpha, *args, **kwargs)
        self.scaling[name] = lora_alpha / r

    LoraLayer.update_layer = wrong


def dora_is_lora() -> None:
    """Magnitudes are trained and saved, and play no part."""

    def wrong(self: Any, x: Any, *, lora_A: Any, lora_B: Any, scaling: float, **_: Any) -> Any:
        return lora_B(lora_A(x)) * scaling

    DoraLinearLayer.forward = wrong


def norm_of_the_base() -> None:
    """Magnitudes are divided by the norm of the base's rows, not by that of what is adapted."""
    right = DoraLinearLayer.get_weight_norm
    DoraLinearLayer.get_weight_norm = lambda self, weight, lora_weight, scaling, **kwargs: right(
        self, weight, torch.zeros_like(lora_weight), scaling, **kwargs
    )


def gradient_through_the_norm() -> None:
    """The paper holds the norm constant in the backward pass."""

    def wrong(
        self: Any, x: Any, *, lora_A: Any, lora_B: Any, scaling: float, base_layer: Any,
        base_result: Any, **_: Any,
    ) -> Any:  # fmt: skip
        whole = base_layer.weight + scaling * lora_B.weight @ lora_A.weight
        share = self.weight / whole.norm(dim=1)
        return (share - 1) * base_result + share * scaling * lora_B(lora_A(x))

    DoraLinearLayer.forward = wrong


def dropout_in_answers() -> None:
    torch.nn.Dropout.forward = lambda self, x: torch.nn.functional.dropout(x, self.p, True)


def no_dropout() -> None:
    torch.nn.Dropout.forward = lambda self, x: x


def saved_in_bfloat16() -> None:
    def change(_: Any, tensors: Any) -> Any:
        return {name: each.bfloat16().float() for name, each in tensors.items()}

    returned(peft_model, "get_peft_model_state_dict", change)
