"""Everything that one training run consists of, put together, and where it stands."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from peft.utils import SAFETENSORS_WEIGHTS_NAME, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from transformers import set_seed

from engine.data.batches import TokenSequence
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.model.load import Loaded
from engine.model.protocols import AdaptedModel
from engine.objectives.heads import Scorer, scorer
from engine.objectives.objective import Objective
from engine.recipe.schema import Data, Training
from engine.train import training_state
from engine.train.loader import loader_of
from engine.train.optimizer import schedule_of
from engine.train.progress import NonFiniteGuard, Progress

PROGRESS = "trainer_state.json"
"""Where a checkpoint says how far it is, as transformers' Trainer names file and keys."""
_PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True, slots=True)
class World:
    """One process of a run. Only the main one writes events, checkpoints and the adapter."""

    accelerator: Accelerator

    @property
    def rank(self) -> int:
        """This process among all, from 0."""
        return int(self.accelerator.process_index)

    @property
    def size(self) -> int:
        """Processes that train together."""
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The elementwise sum of a tensor over all processes; the tensor itself where it is one."""
        if self.size == 1:
            return tensor
        total: torch.Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return total


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """The parts of a run and its progress; hooks read it, and ask for a stop or a checkpoint."""

    model: AdaptedModel
    objective: Objective
    score: Scorer
    loader: DataLoader[Any]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    accelerator: Accelerator
    world: World
    guard: NonFiniteGuard
    training: Training
    pad_token_id: int
    num_sequences: int
    steps_per_epoch: int
    total_steps: int
    progress: Progress = field(default_factory=Progress)
    last_metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Of the latest step; None is a figure that was no number."""
    batch_shape: tuple[int, ...] = ()
    """Rows and tokens of the micro-batch that is at work, or was last."""
    use_reentrant: bool = False
    """The kind of checkpointing. The reentrant one gives wrong gradients, at the same loss, where
    layers share keys and values; only the doctor tries it."""
    should_stop: bool = False
    """A hook wants no step after this one."""
    should_save: bool = False
    """A hook wants a checkpoint of this step."""

    @property
    def epochs(self) -> float:
        """Passes over all rows that the run is made of, a part of the last one included."""
        if self.training.max_steps > 0:
            return self.total_steps / self.steps_per_epoch
        return self.training.num_train_epochs


def assembled(
    model: AdaptedModel,
    loaded: Loaded,
    sequences: Sequence[TokenSequence],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    training: Training,
    data: Data,
    images: ImageTokenizer | None = None,
    guard: NonFiniteGuard | None = None,
) -> TrainingState:
    """A run of an adapter on prepared sequences, ahead of its first step.

    Dropout draws from `training.seed`, which is set here for the whole process.
    """
    set_seed(training.seed)
    accelerator = _accelerator(loaded)
    collate = objective.collator(loaded.tokenizer.pad_token_id, counts_on=loaded.counts_on)
    loader = loader_of(model, sequences, collate, training, data, accelerator, images)
    # What is left at an epoch's end is a step of its own.
    steps_per_epoch = math.ceil(len(loader) / training.gradient_accumulation_steps)
    total_steps = training.max_steps
    if total_steps <= 0:
        total_steps = math.ceil(training.num_train_epochs * steps_per_epoch)
    optimizer = accelerator.prepare(optimizer)
    return TrainingState(
        model=model,
        objective=objective,
        score=scorer(model, loaded, accelerator),
        loader=loader,
        optimizer=optimizer,
        schedule=schedule_of(optimizer, training, total_steps),
        accelerator=accelerator,
        world=World(accelerator),
        guard=guard or NonFiniteGuard(),
        training=training,
        pad_token_id=loaded.tokenizer.pad_token_id,
        num_sequences=len(sequences),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )


def _accelerator(loaded: Loaded) -> Accelerator:
    # What an earlier run of this process chose, it would refuse to choose otherwise.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=_PRECISIONS.get(loaded.dtype, "no"),
        cpu=loaded.device == "cpu",
        step_scheduler_with_optimizer=False,
    )


def save(state: TrainingState, folder: Path) -> None:
    """Write what training stands on beside the weights."""
    scaler = state.accelerator.scaler
    tensors = {
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler else {},
        "random": training_state.random_state(state.accelerator.device),
    }
    training_state.save(folder, tensors)
    progress = dataclasses.asdict(state.progress)
    document = {"global_step": progress.pop("step"), "max_steps": state.total_steps, **progress}
    (folder / PROGRESS).write_text(json.dumps(document, indent=2))


def progress_of(folder: Path) -> Progress:
    """How far a checkpoint is."""
    document = json.loads((folder / PROGRESS).read_bytes())
    names = {key.name for key in dataclasses.fields(Progress)}
    figures = {key: value for key, value in document.items() if key in names}
    return Progress(step=document["global_step"], **figures)


def restore_weights(state: TrainingState, folder: Path) -> None:
    """The adapter's weights of a checkpoint. Raises `ValueError` where they are another's."""
    weights = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    result = set_peft_model_state_dict(state.model, weights)
    missing = [name for name in result.missing_keys if "lora_" in name]
    if missing or result.unexpected_keys:
        raise ValueError(f"the adapter's weights are not this run's: {missing[:3]}")


def restore(state: TrainingState, folder: Path) -> dict[str, Any]:
    """Weights, moments, schedule and progress of a checkpoint; gives its random state.

    The random state is set once the batches that were trained on already are passed by, as they
    draw numbers too.
    """
    restore_weights(state, folder)
    tensors = training_state.load(folder)
    training_state.restore_optimizer(state.optimizer, tensors["optimizer"])
    training_state.restore_scheduler(state.schedule, tensors["scheduler"])
    if state.accelerator.scaler and tensors.get("scaler"):
        state.accelerator.scaler.load_state_dict(tensors["scaler"])
    state.progress = progress_of(folder)
    # Earlier versions kept these figures beside the tensors.
    for name, figure in tensors.get("told", {}).items():
        setattr(state.progress, name, figure)
    state.guard.skipped = state.progress.skipped_steps
    random_state: dict[str, Any] = tensors["random"]
    return random_state
