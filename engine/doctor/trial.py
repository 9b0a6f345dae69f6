"""One optimizer step of the engine's own trainer, and how two of them differ."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from engine.data.batches import TokenSequence
from engine.model import lora
from engine.model.load import Loaded
from engine.recipe.schema import Adapter, Data, Source, Training
from engine.train import sft
from engine.train.loss_guards import Guard
from engine.train.token_counts import Tally

ADAPTER = Adapter(r=4, lora_alpha=8)
_NEGLIGIBLE = 1e-3
"""Of the largest gradient; below it a tensor's own rounding is larger than its size."""


@dataclass(slots=True)
class RecordedStep(TrainerCallback):
    """The losses of the steps, and the gradients of the last one before it was taken."""

    losses: list[float] = field(default_factory=list)
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Copy the gradients."""
        self.gradients = {
            name: parameter.grad.clone()
            for name, parameter in named["model"].named_parameters()
            if parameter.grad is not None
        }

    def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Keep the loss."""
        if "loss" in named["logs"]:
            self.losses.append(named["logs"]["loss"])


def trainer(
    gemma: Loaded,
    sequences: Sequence[TokenSequence],
    callback: TrainerCallback,
    tally: Tally | None = None,
    *,
    is_reentrant: bool = False,
    guard: Guard | None = None,
    **settings: Any,
) -> sft.TokenWeightedTrainer:
    """A run's trainer on a tiny Gemma, whose adapter begins filled so that all gradients flow."""
    model = lora.attach(gemma.model, ADAPTER, 0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    chosen = {"max_steps": 1, "max_grad_norm": 1e9, "gradient_checkpointing": False, **settings}
    data = Data(sources=(Source(path="none"),))
    config = sft.arguments(Training(**chosen), data, gemma, Path(tempfile.gettempdir()))
    if is_reentrant:
        config.activation_checkpointing_kwargs = {"use_reentrant": True}
    return sft.trainer(
        model, gemma, sequences, config, callback, tally or Tally(), _not_saved, guard=guard
    )


class _Open(Guard):
    """Lets everything pass: what is no number is to be measured, not kept away."""

    def lets_pass(self, step: int, loss: float, grad_norm: float) -> bool:
        """Yes."""
        return True


def step(gemma: Loaded, sequences: Sequence[TokenSequence], **settings: Any) -> RecordedStep:
    """Loss and gradients of one optimizer step, micro-batches as the settings say."""
    kept = RecordedStep()
    trainer(gemma, sequences, kept, guard=_Open(), **settings).train()
    return kept


def difference(left: RecordedStep, right: RecordedStep) -> float:
    """The largest relative difference of losses and gradients; infinite where there are none."""
    largest = max((float(one.abs().max()) for one in left.gradients.values()), default=0.0)
    if largest == 0 or left.gradients.keys() != right.gradients.keys() or not left.losses:
        return math.inf
    found = [
        float((one - right.gradients[name]).abs().max())
        / max(float(one.abs().max()), _NEGLIGIBLE * largest)
        for name, one in left.gradients.items()
    ]
    found += [abs(a - b) / abs(a) for a, b in zip(left.losses, right.losses, strict=True)]
    return math.inf if any(math.isnan(one) for one in found) else max(found)


def _not_saved(folder: Path, step: int) -> None:
    """No checkpoint is asked for."""
