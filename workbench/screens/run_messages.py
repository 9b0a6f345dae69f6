"""What the run screen hears from its threads, and what it tells the app."""

from textual.message import Message

from engine.hardware.monitor import Meters
from engine.run.rundir import RunDir, RunStatus, State
from workbench.run_view.forecast_vs_measured import MemoryForecast
from workbench.run_view.run_state import RunState


class Arrived(Message, namespace="run_screen"):
    """What the run told since, folded; the latest holds all of it."""

    def __init__(
        self,
        run: RunState | None = None,
        state: State | None = None,
        log: tuple[str, ...] = (),
        forecast: MemoryForecast | None = None,
    ) -> None:
        super().__init__()
        self.run, self.state = run or RunState(), state or State(RunStatus.STARTING)
        self.log, self.forecast = log, forecast or MemoryForecast()

    def can_replace(self, message: Message) -> bool:
        """A later one makes an earlier one needless."""
        return isinstance(message, Arrived)


class Measured(Message, namespace="run_screen"):
    """How busy the machine is; None once that does not matter any more."""

    def __init__(self, meters: Meters | None) -> None:
        super().__init__()
        self.meters = meters


class StopWanted(Message, namespace="run_screen"):
    """The user wants to end the run."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run
