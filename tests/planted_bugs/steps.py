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


def betas_swapped() -> None:
    optimizer._ADAM["betas"] = (0.999, 0.9)


def larger_epsilon() -> None:
    optimizer._ADAM["eps"] = 1e-5


def no_bias_correction() -> None:
    """The moments count as those of a step far on."""
    right = torch.optim.Adam._init_group

    def wrong(self: Any, group: Any, *lists: Any) -> Any:
        is_complex = right(self, group, *lists)
        for count in lists[-1]:
            count.fill_(1e6)
        return is_complex

    torch.optim.Adam._init_group = wrong


def clipping_by_tensor() -> None:
    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        parameters = [each for each in parameters if each.grad is not None]
        norms = [torch.nn.utils.clip_grad_norm_(each, max_norm) for each in parameters]
        return torch.stack(norms).norm()

    Accelerator.clip_grad_norm_ = wrong


def clipping_after_the_step() -> None:
    """It comes too late: those that are clipped are dropped unused."""
    later = []

    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        parameters = [each for each in parameters if each.grad is not None]
        later.append((parameters, max_norm))
        return torch.nn.utils.get_total_norm([each.grad for each in parameters])

    Accelerator.clip_grad_norm_ = wrong
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        returned(kind, "step", lambda *_: torch.nn.utils.clip_grad_norm_(*later.pop()))


def decay_twice() -> None:
    right = optimizer._groups
    optimizer._groups = lambda model, decay: right(model, 2 * decay)


def decay_of_b_alone() -> None:
    optimizer._is_undecayed = lambda name: "lora_A" in name


def decay_without_the_rate() -> None:
    """As the paper on AdamW has it, whose decay is scaled by the schedule alone."""

    class Wrong(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:
            decays = [group["weight_decay"] for group in self.param_groups]
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay / group["initial_lr"]
            super().step()
            for group, decay in zip(self.param_groups, decays, strict=True):
                group["weight_decay"] = decay

    torch.optim.AdamW = Wrong


def schedule_behind() -> None:
    def change(_: Any, schedule: Any) -> Any:
        schedule.lr_lambdas = [
            lambda step, right=right: right(max(step - 1, 0)) for right in schedule.lr_lambdas
        ]
        return schedule

    returned(state, "schedule_of", change)


def no_warm_up() -> None:
    optimizer.warmup_steps = lambda training, total_steps: 0


def earlier_micro_batches_lost() -> None:
    right = Accelerator.backward

    def wrong(self: Any, loss: Any, **kwargs: Any) -> None:
        for each in self._optimizers:
            each.zero_grad()
        right(self, loss, **kwargs)

    Accelerator.backward = wrong


def gradients_kept() -> None:
    """Those of a step are added to the next one's."""
    torch.nn.Module.zero_grad = lambda self, set_to_none=True: None


def no_second_rate() -> None:
    right = optimizer.create_loraplus_optimizer
    optimizer.create_loraplus_optimizer = lambda *args, **kwargs: right(
        *args, **{**kwargs, "loraplus_lr_ratio": 1.0}
    )


def second_rate_for_a() -> None:
    def change(_: Any, plus: Any) -> Any:
        slow, _, fast, *_ = plus.param_groups
        slow["lr"], fast["lr"] = fast["lr"], slow["lr"]
        return plus

    returned(optimizer, "create_loraplus_optimizer", change)


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
