"""The optimizer and the schedule of its learning rate, as transformers' Trainer makes them."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from peft.optimizers import create_loraplus_optimizer
from transformers import get_scheduler

from engine.model.lora import MAGNITUDE
from engine.model.protocols import AdaptedModel
from engine.recipe.schema import Training

_ADAM: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}


def optimizer_of(model: AdaptedModel, training: Training) -> torch.optim.Optimizer:
    """The recipe's optimizer over all trained parameters; with LoRA+ at two learning rates."""
    kind, settings = _kind(training.optim)
    optimizer = _built(model, training, kind, {"lr": training.learning_rate, **settings})
    if "bit" in training.optim and not settings["is_paged"]:
        # Imported late: bitsandbytes takes half a second and looks for CUDA.
        from engine.model.patches.optimizer_waits import step_without_waits

        step_without_waits(optimizer)
    return optimizer


def _built(
    model: AdaptedModel, training: Training, kind: Any, settings: dict[str, Any]
) -> torch.optim.Optimizer:
    if training.loraplus_lr_ratio != 1:
        plus: torch.optim.Optimizer = create_loraplus_optimizer(
            model,
            kind,
            **settings,
            loraplus_lr_ratio=training.loraplus_lr_ratio,
            loraplus_weight_decay=training.weight_decay,
        )
        _spare_magnitudes(plus)
        return plus
    optimizer: torch.optim.Optimizer = kind(_groups(model, training.weight_decay), **settings)
    return optimizer


def _kind(optim: str) -> tuple[Any, dict[str, Any]]:
    """Class and settings by the name that transformers gives an optimizer."""
    if optim == "sgd":
        return torch.optim.SGD, {}
    if optim == "adamw_torch":
        return torch.optim.AdamW, _ADAM
    # Imported late: bitsandbytes takes half a second and looks for CUDA.
    from bitsandbytes.optim import AdamW

    bits = 8 if "8bit" in optim else 32
    return AdamW, {**_ADAM, "optim_bits": bits, "is_paged": optim.startswith("paged")}


def _groups(model: AdaptedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases and magnitudes don't."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]

    def group(parameters: Iterable[torch.nn.Parameter], decay: float) -> dict[str, Any]:
        return {"params": list(parameters), "weight_decay": decay}

    return [
        group((p for name, p in named if not _is_undecayed(name)), weight_decay),
        group((p for name, p in named if _is_undecayed(name)), 0.0),
    ]


def _is_undecayed(name: str) -> bool:
    """DoRA's magnitudes too: they start as the norms of the base's rows, which decay would shrink
    (0.905 of them after 100 steps without a gradient at a rate of 1e-2 and a decay of 0.1)."""
    return name.endswith("bias") or "norm" in name.split(".")[-2] or MAGNITUDE in name


def _spare_magnitudes(plus: torch.optim.Optimizer) -> None:
    """Move what has one dimension, magnitudes, from PEFT's decayed group of B to the other."""
    _, _, decayed, undecayed = plus.param_groups
    undecayed["params"] += [p for p in decayed["params"] if p.ndim == 1]
    decayed["params"] = [p for p in decayed["params"] if p.ndim > 1]


def schedule_of(
    optimizer: torch.optim.Optimizer, training: Training, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The recipe's schedule, with its warm-up."""
    schedule: torch.optim.lr_scheduler.LambdaLR = get_scheduler(
        training.lr_scheduler_type,
        optimizer=optimizer,
        num_warmup_steps=warmup_steps(training, total_steps),
        num_training_steps=total_steps,
    )
    return schedule


def warmup_steps(training: Training, total_steps: int) -> int:
    """Steps of a warm-up, which is told as a count, or below 1 as a share of all."""
    warmup = training.warmup_steps
    return int(warmup) if warmup >= 1 else math.ceil(total_steps * warmup)
