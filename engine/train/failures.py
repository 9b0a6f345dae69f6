"""What ended a run or a step: in words, what a user can do, and less memory the next time."""

import json

from engine import events
from engine.budget.placement import forecast_recipe
from engine.budget.suggestions import Suggestion, suggestions
from engine.hardware import nvml
from engine.hardware.gpu import Gpu
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Recipe, Training
from engine.run import disk
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import StoppedEarly
from engine.run.foothold import RunGone
from engine.run.request import Request
from engine.train.hooks.save_checkpoints import NotSaved
from engine.train.progress import NotFinite

_NAMES = ("OutOfMemoryError", "MemoryError")
_PHRASES = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "MPS backend out of memory",
)
"""cuBLAS finds itself "not initialized" where there is no memory left for its handle."""
_WORTH_SHARE = 0.1
"""Of the device: what did not fit by an unknown lot is not mended by less."""


class OutOfMemory(Exception):
    """A step ran out of memory; raised instead of PyTorch's own error, which holds its tensors."""

    def __init__(self, message: str, step: int, batch_shape: tuple[int, ...]) -> None:
        self.step = step
        self.batch_shape = batch_shape
        place = "ahead of a step"
        if batch_shape:
            place = f"in step {step}, at {batch_shape[0]} rows of {batch_shape[1]} tokens"
        super().__init__(f"out of memory {place}: {message}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: by PyTorch's error, or by what allocators, cuBLAS and cuDNN say."""
    return type(error).__name__ in _NAMES or any(phrase in str(error) for phrase in _PHRASES)


def failed(error: OutOfMemory, request: Request, phase: str, log: str) -> events.Failed:
    """The run's last word: shapes, the forecast's parts, and the first change that would help."""
    remedy = _first_that_helps(request.recipe, request.hardware)
    forecast = request.forecast
    hint = "Take a smaller model, or a device with more memory"
    if remedy:
        keys = " and ".join(f"{key} = {json.dumps(value)}" for key, value in remedy.changes.items())
        hint = f"Set {keys}: saves about {remedy.saves_gib:.2f} GiB, costs {remedy.costs}"
    return events.Failed(
        phase=phase,
        error=f"{error}{_other_processes(request.hardware)}",
        hint=hint,
        log=log,
        step=error.step,
        batch_shape=error.batch_shape or None,
        ledger={row["part"]: row["gib"] for row in forecast["rows"]} if forecast else None,
        suggestion={key: json.dumps(value) for key, value in remedy.changes.items()}
        if remedy
        else None,
    )


def _other_processes(hardware: Profile) -> str:
    """Which other processes hold memory of the card just now."""
    gpu = nvml.find(hardware.visible_as) if hardware.device == "cuda" else None
    return (
        f"; {gpu.holders} took some of the card too" if isinstance(gpu, Gpu) and gpu.holders else ""
    )


def smaller(training: Training) -> Training | None:
    """Less at a time and as much in a step; None where a micro-batch has one row already."""
    batch, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    if batch == 1:
        return None
    parts = 2 if batch % 2 == 0 else batch
    changes = {
        "per_device_train_batch_size": batch // parts,
        "gradient_accumulation_steps": accumulation * parts,
    }
    return training.model_copy(update=changes)


def retried(error: OutOfMemory, now: Training, start: Checkpoint | None) -> events.Warned:
    """What is told of going on by less at a time."""
    place = f"goes on after step {start.step}" if start else "begins again from step 1"
    return events.Warned(
        code="out_of_memory",
        message=f"{error}; it {place} with {now.per_device_train_batch_size} rows at a time and "
        f"{now.gradient_accumulation_steps} accumulation steps, which is the same batch",
        fix="Set these in the recipe, and the next run begins with them",
    )


def _first_that_helps(recipe: Recipe, profile: Profile) -> Suggestion | None:
    """The cheapest change that saves a good deal; else the one that saves most."""
    try:
        options = suggestions(forecast_recipe(recipe, profile))
    except Refusal:
        return None
    worth = _WORTH_SHARE * profile.memory_gib
    much = (one for one in options if one.budget.fits and one.saves_gib >= worth)
    return next(much, max(options, key=lambda one: one.saves_gib, default=None))


_DISK = "Free space there; a run with a checkpoint goes on: gemma-bench resume RUN"
_UNKNOWN = "The log's last lines tell where it happened"


def hint(error: BaseException) -> str:
    """One sentence of advice."""
    if isinstance(error, Refusal):
        return " ".join(problem.fix for problem in error.problems)
    if isinstance(error, StoppedEarly):
        return "No step was taken; start it again when you like"
    if isinstance(error, RunGone):
        return "Start it again, and leave its folder where it is until it has ended"
    if isinstance(error, NotSaved):
        return "Free space on the disk of the run, and go on: gemma-bench resume RUN"
    if is_out_of_memory(error):
        return (
            "Out of memory: lower per_device_train_batch_size and raise "
            "gradient_accumulation_steps, lower data.max_length, or set "
            "training.gradient_checkpointing = true, model.quantization = nf4, or with E2B and E4B "
            "model.host_tables = true"
        )
    if isinstance(error, NotFinite):
        return "The weights were left as they were; lower training.learning_rate, or use bfloat16"
    if disk.full_error(error):
        return _DISK
    if "inline_container" in str(error):
        return _DISK
    if "gated repo" in str(error).lower():
        return "Accept the model's licence on its hub page, then run: hf auth login"
    if "Can't load" in str(error) or "couldn't connect" in str(error).lower():
        return "Check model.path and the network, or download the model and give its folder"
    return _UNKNOWN
