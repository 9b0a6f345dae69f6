"""What viewers and signals ask for, obeyed between steps."""

from engine.events import Mark
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import Want
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState


class ObeyRunControl(Hook):
    """Marks a step, and passes wishes for a checkpoint or for the end on to the loop."""

    def __init__(self, log: EventLog, control: RunControl) -> None:
        self._log = log
        self._control = control

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Read what was asked for since the step before."""
        self._control.poll()
        if self._control.take(Want.MARK):
            self._log.append(Mark(step=result.step))
        if self._control.stopped_by:
            state.should_save = state.should_stop = True
        if self._control.take(Want.SAVE):
            state.should_save = True
