"""A training run: one attempt, or several with less and less at a time where memory lacks."""

import gc
from dataclasses import dataclass

from engine import events
from engine.hardware import card_memory
from engine.recipe.schema import Training
from engine.run import checkpoint_manifest
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.train import failures
from engine.train.attempt import attempt
from engine.train.failures import OutOfMemory


@dataclass(frozen=True, slots=True)
class _Try:
    """How to train, and from where on."""

    training: Training
    start: Checkpoint | None


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Train as the run's request says, up to its done event."""
    train(run, log, control, None)


def train(run: RunDir, log: EventLog, control: RunControl, start: Checkpoint | None) -> None:
    """Train from the first step, or on from a checkpoint of the same run.

    Out of memory, it begins again with less at a time where the recipe says so. Raises `Refusal`
    where the run is no longer the one that wrote the checkpoint.
    """
    request = run.read_request()
    if request.hardware.device == "cuda":
        card_memory.used_before()
    next_try: _Try | None = _Try(request.recipe.training, start)
    while next_try:
        next_try = _train_once(run, log, control, request, next_try)
        # The error is gone with what it held of the model; a cycle may hold some yet.
        gc.collect()


def _train_once(
    run: RunDir, log: EventLog, control: RunControl, request: Request, this_try: _Try
) -> _Try | None:
    """Train to the end; where memory does not do, give how to try again."""
    try:
        attempt(run, log, control, this_try.start, request, this_try.training)
    except OutOfMemory as error:
        smaller = failures.smaller(this_try.training)
        if request.recipe.training.on_out_of_memory == "stop" or smaller is None:
            raise
        start, rejected = checkpoint_manifest.newest(run)
        log.append(failures.retried(error, smaller, start))
        if start:
            rounding = "but for the rounding of smaller batches"
            log.append(checkpoint_manifest.resumed(run, start, rejected, rounding))
        return _Try(smaller, start)
    except StoppedEarly:
        if this_try.start is None:
            raise
        log.append(_stopped_at(run, this_try.start, control))
    return None


def _stopped_at(run: RunDir, start: Checkpoint, control: RunControl) -> events.Done:
    """A run that was to go on and was stopped before it did stands where it stood."""
    steps = (event for event in run.last_events() if isinstance(event, events.Step))
    last = next((step for step in steps if step.step == start.step), None)
    return events.Done(
        steps=start.step,
        loss=last.metrics.get("loss") if last else None,
        token_accuracy=last.metrics.get("token_accuracy") if last else None,
        elapsed_s=last.elapsed_s if last else 0.0,
        adapter=str(start.folder.relative_to(run.path)),
        stopped_by=control.stopped_by,
    )
