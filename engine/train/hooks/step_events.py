"""One event per optimizer step, with all of its figures."""

import psutil

from engine import events
from engine.events.kinds import (
    ALLOCATED_GIB,
    GRAD_NORM,
    LEARNING_RATE,
    RESERVED_GIB,
    RSS_GIB,
)
from engine.run.event_log import EventLog
from engine.train.hooks import device_memory
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from engine.units import GIB


class StepEvents(Hook):
    """Writes the steps, with what the loop and all other hooks measured of them."""

    metrics = (LEARNING_RATE, GRAD_NORM, ALLOCATED_GIB, RESERVED_GIB, RSS_GIB)

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def measure(self, state: TrainingState, result: StepResult) -> dict[str, float]:
        """Memory of the process, and of the device that it trains on where that has its own."""
        of_device = device_memory.now(state.accelerator.device.type)._asdict()
        memory = {name: gib for name, gib in of_device.items() if gib is not None}
        return {"rss_gib": round(psutil.Process().memory_info().rss / GIB, 3), **memory}

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Append the step."""
        self._log.append(step_event(state, result))


def step_event(state: TrainingState, result: StepResult) -> events.Step:
    """A step as its event."""
    progress = state.progress
    return events.Step(
        step=result.step,
        epoch=round(progress.epoch, 4),
        tokens=progress.tokens,
        supervised_tokens=progress.supervised_tokens,
        tokens_per_s=round(result.tokens / max(result.duration_s, 1e-9), 1),
        elapsed_s=round(progress.elapsed_s, 3),
        metrics=dict(result.metrics),
    )
