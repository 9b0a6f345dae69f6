"""Bugs of a step: clipping, decay, AdamW, the schedule, the adapter, a resumption."""

from typing import Any

import torch
from accelerate import Accelerator
from bitsandbytes.optim.optimizer import Optimizer8bit
from peft.tuners.lora import LoraLayer

from engine.kernels import linear
from engine.train import optimizer, state, training_state
from tests.planted_bugs.planting import returned


def no_clipping() -> None:
    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    Accelerator.clip_grad_norm_ = wrong


def clipping_by_value() -> None:
    right = Accelerator.clip_grad_norm_

    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        parameters = list(parameters)
        norm = right(self, parameters, 1e9)
        torch.nn.utils.clip_grad_value_(parameters, max_norm)
        return norm

    Accelerator.clip_grad_norm_ = wrong


def decay_by_surprise() -> None:
    right = optimizer._groups
    optimizer._groups = lambda model, decay: right(model, decay or 0.01)


def no_decay() -> None:
    right = optimizer._groups
    optimizer._groups = lambda model, decay: right(model, 0.0)


def decay_in_the_gradient() -> None:
    torch.optim.AdamW = torch.optim.Adam


def other_betas() -> None:
    optimizer._ADAM["betas"] = (0.9, 0.95)


def moments_of_8_bits_lost() -> None:
    returned(Optimizer8bit, "step", lambda optimizer, _: optimizer.state.clear())


def schedule_ahead() -> None:
    def change(_: Any, schedule: Any) -> Any:
        schedule.step()
        return schedule

    returned(state, "schedule_of", change)


def no_schedule() -> None:
    right = state.schedule_of

    def wrong(optimizer: Any, training: Any, total: int) -> Any:
        changes = {"lr_scheduler_type": "constant"}
        return right(optimizer, training.model_copy(update=changes), total)

    state.schedule_of = wrong


def trained_copies() -> None:
    right = optimizer._groups

    def wrong(model: Any, decay: float) -> Any:
        groups = right(model, decay)
        for group in groups:
            group["params"] = [torch.nn.Parameter(p.detach().clone()) for p in group["params"]]
        return groups

    optimizer._groups = wrong


def scale_by_root() -> None:
    """In training and at loading alike."""
    right = LoraLayer.update_layer

    def wrong(self: Any, name: str, r: int, lora_alpha: int, *args: Any, **kwargs: Any) -> None:
        right(self, name, r, lora_alpha, *args, **kwargs)
        self.scaling[name] = lora_alpha / r**0.5

    LoraLayer.update_layer = wrong


def backward_of_a() -> None:
    right = linear._LoraLinear.backward

    def wrong(ctx: Any, *gradients: Any) -> Any:
        of_inputs, none, of_down, *rest = right(ctx, *gradients)
        return of_inputs, none, 1.1 * of_down, *rest

    linear._LoraLinear.backward = staticmethod(wrong)


def moments_lost() -> None:
    training_state.restore_optimizer = lambda optimizer, state: None


def schedule_lost() -> None:
    training_state.restore_scheduler = lambda schedule, state: None
