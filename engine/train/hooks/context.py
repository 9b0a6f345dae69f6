"""What all phases and hooks of a run share."""

from dataclasses import dataclass

from engine.objectives.objective import Objective
from engine.recipe.schema import Recipe
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.request import Request
from engine.run.rundir import RunDir


@dataclass(slots=True)
class RunContext:
    """A run as it was asked for, and the ways to speak with those who watch it."""

    run: RunDir
    request: Request
    recipe: Recipe
    """The request's, of whose training memory may have allowed less at a time."""
    log: EventLog
    control: RunControl
    objective: Objective

    def stop_if_asked(self) -> None:
        """Raises `StoppedEarly` where somebody wants the run to end before its first step."""
        self.control.poll()
        if self.control.stopped_by:
            raise StoppedEarly(f"stopped by {self.control.stopped_by} before the first step")
