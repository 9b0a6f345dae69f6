"""Runs of a few steps on a tiny Gemma through the engine's own loop, and how two differ."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.data.batches import TokenSequence
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.model import lora
from engine.model.load import Loaded
from engine.objectives.sft import SupervisedFineTuning
from engine.recipe.schema import Adapter, Data, Source, Training
from engine.train.loop import Hook, train
from engine.train.optimizer import optimizer_of
from engine.train.progress import NonFiniteGuard, StepResult
from engine.train.state import TrainingState, assembled

ADAPTER = Adapter(r=4, lora_alpha=8)
_NEGLIGIBLE = 1e-3
"""Of the largest gradient; below it a tensor's own rounding is larger than its size."""


class RecordedStep(Hook):
    """The losses of the steps, and the gradients of the last one before it was taken."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: dict[str, torch.Tensor] = {}

    def on_gradients(self, state: TrainingState) -> None:
        """Copy the gradients."""
        self.gradients = {
            name: parameter.grad.clone()
            for name, parameter in state.model.named_parameters()
            if parameter.grad is not None
        }

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Keep the loss."""
        self.losses.append(result.metrics["loss"])


class Trial:
    """One run, whose adapter begins filled, so that all gradients flow; fresh, B is zero."""

    def __init__(
        self,
        gemma: Loaded,
        sequences: Sequence[TokenSequence],
        *hooks: Hook,
        adapter: Adapter = ADAPTER,
        images: ImageTokenizer | None = None,
        guard: NonFiniteGuard | None = None,
        data_seed: int = 0,
        is_reentrant: bool = False,
        is_fresh: bool = False,
        **settings: Any,
    ) -> None:
        model = lora.attach(gemma.model, adapter, 0)
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name and not is_fresh:
                parameter.data.normal_(std=0.02)
        changes = {"max_steps": 1, "max_grad_norm": 1e9, "gradient_checkpointing": False}
        training = Training(**{**changes, **settings})
        data = Data(sources=(Source(path="none"),), seed=data_seed)
        objective = SupervisedFineTuning()
        self.hooks = hooks
        lora.start_as_trl(model)
        optimizer = optimizer_of(model, training)
        self.state = assembled(
            model, gemma, sequences, objective, optimizer, training, data, images, guard
        )
        self.state.use_reentrant |= is_reentrant

    @property
    def model(self) -> Any:
        """With its adapter."""
        return self.state.model

    def batch(self) -> dict[str, Any]:
        """All sequences as one micro-batch, in their own order, on the model's device."""
        loader: Any = self.state.loader
        batch: dict[str, Any] = loader.collate_fn(list(loader.dataset))
        device = self.state.accelerator.device
        return {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }

    def train(self, checkpoint: Path | None = None) -> None:
        """Take its steps, from a checkpoint on where one is given."""
        train(self.state, self.hooks, checkpoint)


class _Open(NonFiniteGuard):
    """Lets everything pass: what is no number is to be measured, not kept away."""

    def should_step(self, result: StepResult) -> bool:
        """Yes."""
        return True


def step(
    gemma: Loaded,
    sequences: Sequence[TokenSequence],
    **settings: Any,
) -> RecordedStep:
    """Loss and gradients of one optimizer step, micro-batches as the settings say."""
    recorded = RecordedStep()
    Trial(gemma, sequences, recorded, guard=_Open(), **settings).train()
    return recorded


def difference(left: RecordedStep, right: RecordedStep) -> float:
    """The largest relative difference of losses and gradients; infinite where there are none."""
    largest = max((float(one.abs().max()) for one in left.gradients.values()), default=0.0)
    if largest == 0 or left.gradients.keys() != right.gradients.keys() or not left.losses:
        return math.inf
    differences = [
        float((gradient - right.gradients[name]).abs().max())
        / max(float(gradient.abs().max()), _NEGLIGIBLE * largest)
        for name, gradient in left.gradients.items()
    ]
    differences += [abs(a - b) / abs(a) for a, b in zip(left.losses, right.losses, strict=True)]
    return math.inf if any(map(math.isnan, differences)) else max(differences)
