"""How long a step waits for its data, and a warning where that is much of the run."""

from collections import deque

from engine.events import Metric, Warned
from engine.model import host_embeddings
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

DATA_WAIT = Metric(
    name="data_wait_s", title="waiting for data", unit="s", is_noisy=True, is_outcome=False
)
WINDOW_STEPS = 20
_MOST_SHARE = 0.25
"""Of these steps' time; below it other mends are worth more."""
_LEAST_S = 0.02
"""Per step; shares of less are those of steps that take no time either."""


class DataWait(Hook):
    """Tells it with each step, and warns once."""

    metrics = (DATA_WAIT,)

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._steps: deque[tuple[float, float]] = deque(maxlen=WINDOW_STEPS)
        self._is_first = True
        self._has_warned = False

    def measure(self, state: TrainingState, result: StepResult) -> dict[str, float]:
        """Seconds of the host; the device may be at work meanwhile."""
        return {DATA_WAIT.name: round(result.data_wait_s, 4)}

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Append the warning; the first step after a start opens files, and does not count."""
        if not self._is_first:
            self._steps.append((result.data_wait_s, result.duration_s))
        self._is_first = False
        if self._has_warned or len(self._steps) < WINDOW_STEPS:
            return
        wait_s, total_s = map(sum, zip(*self._steps, strict=True))
        if wait_s > max(_MOST_SHARE * total_s, _LEAST_S * WINDOW_STEPS):
            self._has_warned = True
            has_table = host_embeddings.table_of(state.model) is not None
            self._log.append(_warning(result.step, wait_s, total_s, has_table=has_table))


def _warning(step: int, wait_s: float, total_s: float, *, has_table: bool) -> Warned:
    fix = (
        "End what else keeps the processor busy; resize large images ahead of the run, since each "
        "is read anew in every epoch; let TMPDIR name a folder on a faster disk, as rows lie there"
    )
    on_card = "; or keep the tables on the card: --set model.host_tables=false"
    return Warned(
        code="data_wait",
        message=f"{wait_s / total_s:.0%} of the {WINDOW_STEPS} steps up to step {step} went by in "
        f"waiting for data: {wait_s / WINDOW_STEPS:.3g} of {total_s / WINDOW_STEPS:.3g} s a step",
        fix=fix + on_card * has_table,
    )
