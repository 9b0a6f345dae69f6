"""A training run: one attempt, or several with less and less at a time where memory lacks."""

import gc
from dataclasses import dataclass

from engine import events
from engine.recipe.schema import Recipe, Training
from engine.run import checkpoint_manifest
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train import out_of_memory
from engine.train.out_of_memory import OutOfMemory
from engine.train.run_once import attempt


@dataclass(frozen=True, slots=True)
class _Again:
    """How to try again."""

    training: Training
    start: Checkpoint | None


def run_job(run: RunDir, log: EventLog, wishes: RunControl) -> None:
    """Train as the run's request says, up to its done event."""
    train(run, log, wishes, None)


def train(run: RunDir, log: EventLog, wishes: RunControl, start: Checkpoint | None) -> None:
    """Train from the first step, or on from a checkpoint of the same run.

    Out of memory, it begins again with less at a time where the recipe says so. Raises `Refusal`
    where the run is no longer the one that wrote the checkpoint.
    """
    asked = run.read_request().recipe
    now: _Again | None = _Again(asked.training, start)
    while now:
        now = _tried(run, log, wishes, asked, now)
        # The error is gone with what it held of the model; a cycle may hold some yet.
        gc.collect()


def _tried(
    run: RunDir, log: EventLog, wishes: RunControl, asked: Recipe, now: _Again
) -> _Again | None:
    """None where it went to its end; how to try again where memory did not do."""
    try:
        attempt(run, log, wishes, now.start, asked, now.training)
    except OutOfMemory as error:
        smaller = out_of_memory.smaller(now.training)
        if asked.training.on_out_of_memory == "stop" or smaller is None:
            raise
        start, rejected = checkpoint_manifest.newest(run)
        log.append(out_of_memory.retried(error, smaller, start))
        if start:
            rounding = "but for the rounding of smaller batches"
            log.append(checkpoint_manifest.resumed(run, start, rejected, rounding))
        return _Again(smaller, start)
    except StoppedEarly:
        if now.start is None:
            raise
        log.append(_stopped_at(run, now.start, wishes))
    return None


def _stopped_at(run: RunDir, start: Checkpoint, wishes: RunControl) -> events.Done:
    """A run that was to go on and was stopped before it did stands where it stood."""
    steps = (event for event in run.last_events() if isinstance(event, events.Step))
    last = next((step for step in steps if step.step == start.step), None)
    return events.Done(
        steps=start.step,
        loss=last.loss if last else None,
        token_accuracy=last.token_accuracy if last else None,
        elapsed_s=last.elapsed_s if last else 0.0,
        adapter=str(start.folder.relative_to(run.path)),
        stopped_by=wishes.stopped_by,
    )
