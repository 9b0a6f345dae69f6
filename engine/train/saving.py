"""What a run leaves on the disk, and what becomes of it where the disk won't take it."""

import shutil
from typing import Any

from engine import events
from engine.recipe.schema import Training
from engine.run import failpoint
from engine.run.checkpoint_manifest import Checkpoint, sync_folder
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train import disk, training_state
from engine.train.checkpoint import Checkpoints
from engine.train.loss_guards import Guard, NotSaved
from engine.train.report import Report

_FIX = "Free space on the disk of the run; the older checkpoints are whole"


class Saver:
    """What the trainer calls to save."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        training: Training,
        report: Report,
        guard: Guard,
        log: EventLog,
    ) -> None:
        self._checkpoints = checkpoints
        self._training = training
        self._report = report
        self._guard = guard
        self._log = log

    def __call__(self, trainer: Any) -> None:
        """Save where training stands. Raises `NotSaved` where that fails and ends the run."""
        step = trainer.state.global_step
        try:
            told = {**self._report.told(), "skipped_steps": self._guard.skipped}
            path = self._checkpoints.save(trainer, told)
        except OSError as error:
            self._tell(f"the checkpoint of step {step} could not be saved", error)
        else:
            self._log.append(events.Checkpoint(step=step, path=path))

    def go_on(self, start: Checkpoint) -> None:
        """Count on from a checkpoint."""
        told = training_state.load(start.folder)["told"]
        self._guard.skipped = told.get("skipped_steps", 0)
        self._report.go_on(told)

    def require_room(self, trainer: Any) -> None:
        """See ahead of the first step that a checkpoint has room. Raises `NotSaved`, as above."""
        if self._training.save_steps:
            try:
                self._checkpoints.require_room(trainer, self._training.optim)
            except OSError as error:
                self._tell("there is no room for a checkpoint", error)

    def _tell(self, what: str, error: OSError) -> None:
        """A disk that is full is named so, whatever else is told."""
        told = f"{what}: {error.strerror or error}"
        if self._training.on_failed_save == "stop":
            is_full = error.errno in disk.FULL
            raise NotSaved(f"disk_full: {told}" if is_full else told) from error
        self._log.append(events.Warned(code="checkpoint_failed", message=told, fix=_FIX))


def save_adapter(run: RunDir, model: Any) -> None:
    """Write the adapter into the run, whole or not at all."""
    partial, older = (
        run.adapter.with_name(f".{run.adapter.name}.{end}") for end in ("part", "old")
    )
    for left in (partial, older):
        shutil.rmtree(left, ignore_errors=True)
    with disk.by_number():
        model.save_pretrained(str(partial))
    disk.flush(partial)
    failpoint.reached("adapter.written")
    if run.adapter.exists():
        run.adapter.rename(older)
    partial.rename(run.adapter)
    sync_folder(run.path)
    shutil.rmtree(older, ignore_errors=True)
