"""What every side of `bench.torture` trains, and what a side is."""

from pathlib import Path
from typing import Protocol

STEPS, EVERY = 40, 2
"""Of a run, and between two checkpoints."""
Curve = dict[int, float]


class Side(Protocol):
    """A way to train."""

    name: str

    def begin(self, folder: Path) -> None:
        """Lay down what a run needs."""

    def live(self, folder: Path) -> None:
        """In a process of its own: train, from the newest checkpoint where there is one."""

    def saved(self, folder: Path) -> list[Path]:
        """Checkpoints, the newest first."""

    def curve(self, folder: Path) -> Curve:
        """Loss by step, of a step that was taken twice the last."""
