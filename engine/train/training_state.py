"""What training stands on beside weights, as safetensors and JSON: none of it can be executed."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR

from engine.budget.library_kernels import PAGED_FROM

_TENSORS, _TREE = "training_state.safetensors", "training_state.json"
_TENSOR, _PAIRS, _TUPLE = "<tensor>", "<pairs>", "<tuple>"
"""Marks in the tree of what JSON has no word for."""


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a tree of dictionaries, lists, tuples, tensors, numbers and strings."""
    tensors: dict[str, torch.Tensor] = {}

    def store(tensor: torch.Tensor) -> str:
        name = str(len(tensors))
        tensors[name] = tensor.detach().cpu().contiguous().clone()
        return name

    tree = _packed(state, store)
    save_file(tensors, folder / _TENSORS)
    (folder / _TREE).write_text(json.dumps(tree))


def load(folder: Path) -> dict[str, Any]:
    """The tree again, to the bit, its tensors on the CPU."""
    tensors = load_file(folder / _TENSORS)
    state: dict[str, Any] = _unpacked(json.loads((folder / _TREE).read_text()), tensors)
    return state


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of all random numbers that training on a device draws."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.random.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
        "mps": [torch.mps.get_rng_state()] if device.type == "mps" else [],
    }


def restore_random(state: dict[str, Any], device: torch.device) -> None:
    """Draw on from where `random_state` was told, by what it told of devices of this kind."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.random.set_rng_state(state["torch"])
    for of_device in state.get(device.type, [])[:1]:
        torch.get_device_module(device).set_rng_state(of_device)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Moments as they were saved; rates and decay stay the recipe's, which a branch may change.

    Raises `ValueError` where the checkpoint's optimizer groups its tensors otherwise.
    """
    saved, own = (
        [len(group["params"]) for group in groups]
        for groups in (state["param_groups"], optimizer.param_groups)
    )
    if saved != own:
        raise ValueError(
            f"the checkpoint's optimizer has groups of {saved} tensors, this one of {own}, since "
            "DoRA's magnitudes no longer decay: begin another run, or resume with the version that "
            "wrote it"
        )
    recipes = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    _page(getattr(optimizer, "optimizer", optimizer))
    for group, settings in zip(optimizer.param_groups, recipes, strict=True):
        group.update(settings)


def _page(optimizer: Any) -> None:
    """Put moments into managed memory again, which bitsandbytes loads as tensors of the card."""
    if not getattr(optimizer, "is_paged", False):
        return
    for parameter, moments in optimizer.state.items():
        if parameter.device.type != "cuda" or parameter.numel() < PAGED_FROM:
            continue
        for name in {"state1", "state2"} & moments.keys():
            paged = optimizer.get_state_buffer(parameter, moments[name].dtype)
            moments[name] = paged.copy_(moments[name])


def restore_scheduler(scheduler: LambdaLR, state: dict[str, Any]) -> None:
    """Go on at the step that was saved, on the recipe's own curve (LambdaLR: rate times share)."""
    scheduler.last_epoch = state["last_epoch"]
    scheduler._step_count = state["_step_count"]
    rates = [
        rate * share(scheduler.last_epoch)
        for rate, share in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    scheduler._last_lr = rates
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _packed(value: Any, store: Callable[[torch.Tensor], str]) -> Any:
    if isinstance(value, torch.Tensor):
        return {_TENSOR: store(value)}
    if isinstance(value, dict):
        return {_PAIRS: [[_packed(key, store), _packed(one, store)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_packed(one, store) for one in value]}
    if isinstance(value, list):
        return [_packed(one, store) for one in value]
    return value


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((mark, inside),) = value.items()
    if mark == _TENSOR:
        return tensors[inside]
    if mark == _TUPLE:
        return tuple(_unpacked(one, tensors) for one in inside)
    return {_unpacked(key, tensors): _unpacked(one, tensors) for key, one in inside}
