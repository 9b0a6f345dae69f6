"""The optimizers of a recipe with their state in place, as after the first step."""

from typing import Any

import torch
from bitsandbytes import functional as four_bit
from bitsandbytes import optim as bitsandbytes_optim

from engine.budget.library_kernels import PAGED_FROM
from engine.budget.step_shape import StepShape
from tools.simulator.tracker import Tracker


def settled(parameters: list[torch.nn.Parameter], case: StepShape) -> Any:
    """The optimizer after one step on zero gradients, and without gradients; in a fake mode."""
    optimizer = optimizer_of(parameters, case)
    if isinstance(optimizer, torch.optim.Optimizer) and "bit" not in case.optim:
        _give_gradients(parameters)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return optimizer
    for group_number, group in enumerate(optimizer.param_groups):
        for number, parameter in enumerate(group["params"]):
            optimizer.init_state(group, parameter, group_number, number)
    optimizer.initialized = True
    return optimizer


def optimizer_of(parameters: list[torch.nn.Parameter], case: StepShape) -> Any:
    """As transformers' Trainer makes them; on CUDA PyTorch's own run over all tensors at once."""
    at_once = True if case.device == "cuda" else None
    if case.optim == "adamw_torch":
        return torch.optim.AdamW(parameters, foreach=at_once)
    if case.optim == "sgd":
        return torch.optim.SGD(parameters, lr=1e-3, foreach=at_once)
    bits = 8 if "8bit" in case.optim else 32
    return _Adam(parameters, optim_bits=bits, is_paged=False)


class _Adam(bitsandbytes_optim.AdamW):
    """With the maps of 8-bit numbers made beforehand: making them reads values."""

    def fill_qmap(self) -> None:
        self.name2qmap.update(four_bit.name2qmap)


def _give_gradients(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)


def hold(tracker: Tracker, optimizer: Any, case: StepShape) -> None:
    """Count the state; what is paged is managed memory, which PyTorch's counters leave out."""
    is_paged = "paged" in case.optim and case.device == "cuda"
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor) or name == "step":
                continue
            if is_paged and name in {"state1", "state2"} and parameter.numel() >= PAGED_FROM:
                tracker.hold_elsewhere(value)
            else:
                tracker.hold(value, "optimizer", name)


def step(optimizer: Any, case: StepShape) -> None:
    """Take a step. The kernels of bitsandbytes work in place and allocate nothing."""
    if "bit" not in case.optim:
        optimizer.step()


def prepare() -> None:
    """Make the maps of 8-bit numbers from real tensors: their values are read."""
    maps = {"dynamic": True, "udynamic": False}
    for name, is_signed in maps.items():
        if name not in four_bit.name2qmap:
            four_bit.name2qmap[name] = four_bit.create_dynamic_map(signed=is_signed)
