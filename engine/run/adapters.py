"""Which adapters a run has to offer: the one it ended with, and those of its checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from engine import events
from engine.problems import Refusal
from engine.run.rundir import RunDir

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""PEFT's file names within an adapter's folder."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter of a run."""

    name: str
    """Its folder, relative to the run."""
    step: int | None
    """The step it was saved after; None where the run no longer tells."""
    path: Path


def every(run: RunDir) -> list[Adapter]:
    """List all adapters of a run, the oldest first; the last one is the best trained."""
    adapters = []
    for folder in sorted(run.checkpoints.glob("step-*")):
        digits = folder.name.removeprefix("step-")
        step = int(digits) if digits.isdecimal() else None
        adapters.append(Adapter(str(folder.relative_to(run.path)), step, folder))
    if run.adapter.is_dir():
        last = next(run.last_events(), None)
        steps = last.steps if isinstance(last, events.Done) else None
        adapters.append(Adapter(run.adapter.name, steps, run.adapter))
    return adapters


def newest(run: RunDir) -> Adapter | None:
    """Find the adapter to be used where none is named."""
    return next(reversed(every(run)), None)


def find(run: RunDir, name: str) -> Adapter:
    """Find an adapter by name, the newest without one. Raises `Refusal` where it is not there."""
    adapters = every(run)
    if not adapters:
        fix = "Ask the run to save now, or wait for its end"
        raise Refusal.of(str(run.path), "it has none yet", fix, key="checkpoints")
    by_name = {adapter.name: adapter for adapter in adapters}
    if name and name not in by_name:
        fix = f"Open one of {', '.join(by_name)}"
        raise Refusal.of(str(run.path), "there is no such adapter", fix, key=name)
    return by_name[name] if name else adapters[-1]
