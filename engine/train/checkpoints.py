"""Checkpoints that are whole or not there, kept by step number."""

import os
import shutil
from pathlib import Path

from engine.rundir import RunDir


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: RunDir, limit: int) -> None:
        self._run = run
        self._limit = limit
        self.staging = run.checkpoints / ".partial"
        """Where one is written before it gets its name."""

    def publish(self, written: Path, step: int) -> str:
        """Give a written checkpoint its name and remove the oldest; its path within the run."""
        _sync(written)
        final = self._run.checkpoint(step)
        if final.exists():
            shutil.rmtree(final)
        written.rename(final)
        _sync_folder(final.parent)
        for old in sorted(self._run.checkpoints.glob("step-*"))[: -self._limit]:
            shutil.rmtree(old)
        return str(final.relative_to(self._run.path))

    def clear_staging(self) -> None:
        """Remove what an interrupted save left."""
        shutil.rmtree(self.staging, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
