"""Checkpoints every so many steps and where they are asked for, whatever the disk says."""

from engine import events
from engine.run import disk
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.saving.checkpoints import Checkpoints
from engine.train.state import TrainingState

_FIX = "Free space on the disk of the run; the older checkpoints are whole"


class NotSaved(Exception):
    """A checkpoint could not be saved, and the recipe wants the run to end by that."""


class SaveCheckpoints(Hook):
    """Saves as the recipe says; a disk that is full ends the run or is warned of."""

    def __init__(self, log: EventLog, checkpoints: Checkpoints) -> None:
        self._log = log
        self._checkpoints = checkpoints

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Save where it is due. Raises `NotSaved` where that fails and ends the run.

        A step that was left out is no reason to save: older checkpoints may be the better.
        """
        every, is_last = state.training.save_steps, result.step >= state.total_steps
        is_due = bool(every) and (result.step % every == 0 or is_last) and result.is_finite
        if state.should_save or is_due:
            self._save(state)
        state.should_save = False

    def _save(self, state: TrainingState) -> None:
        step = state.progress.step
        try:
            path = self._checkpoints.save(state)
        except OSError as error:
            what = f"the checkpoint of step {step} could not be saved"
            _failed(self._log, self._checkpoints, state, what, error)
        else:
            self._log.append(events.Checkpoint(step=step, path=path))


def require_room(checkpoints: Checkpoints, state: TrainingState, log: EventLog) -> None:
    """See ahead of the first step that a checkpoint has room. Raises `NotSaved`, as above."""
    if state.training.save_steps:
        try:
            checkpoints.require_room(state)
        except OSError as error:
            _failed(log, checkpoints, state, "there is no room for a checkpoint", error)


def _failed(
    log: EventLog, checkpoints: Checkpoints, state: TrainingState, what: str, error: OSError
) -> None:
    """Warn or end the run; a disk that is full is named so in either case."""
    is_full = error.errno in disk.FULL
    cause = disk.cause(error, checkpoints.folder) if is_full else error.strerror or error
    message = f"{what}: {cause}"
    if state.training.on_failed_save == "stop":
        raise NotSaved(f"disk_full: {message}" if is_full else message) from error
    log.append(events.Warned(code="checkpoint_failed", message=message, fix=_FIX))
