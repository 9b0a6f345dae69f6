"""Which adapters a run has to offer: the one it ended with, and those of its checkpoints."""

from dataclasses import dataclass
from pathlib import Path

from engine import events
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
    """All adapters of a run, the oldest first; the last one is the best trained."""
    found = [_saved(run, folder) for folder in sorted(run.checkpoints.glob("step-*"))]
    if run.adapter.is_dir():
        last = next(run.last_events(), None)
        step = last.steps if isinstance(last, events.Done) else None
        found.append(Adapter(run.adapter.name, step, run.adapter))
    return found


def newest(run: RunDir) -> Adapter | None:
    """The adapter to be used where none was named."""
    return next(reversed(every(run)), None)


def _saved(run: RunDir, folder: Path) -> Adapter:
    digits = folder.name.removeprefix("step-")
    step = int(digits) if digits.isdecimal() else None
    return Adapter(str(folder.relative_to(run.path)), step, folder)
