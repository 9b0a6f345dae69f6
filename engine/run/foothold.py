"""Whether an engine's run directory is still the one that it began in."""

import os
from pathlib import Path

from engine.run.rundir import RunDir

_DELETED = " (deleted)"


class RunGone(Exception):
    """The run directory was removed, moved or replaced while its engine was at work."""


class Foothold:
    """The lock file that an engine holds open, compared with the one that its path leads to."""

    def __init__(self, run: RunDir, lock_fd: int) -> None:
        self._run, self._fd = run, lock_fd

    @property
    def is_lost(self) -> bool:
        """Whether another file, or none, is where the lock was; a disk's error says neither."""
        try:
            there = os.stat(self._run.lock)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        own = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino)

    def require(self) -> None:
        """Raises `RunGone` where it is lost."""
        if self.is_lost:
            raise RunGone(self.fate())

    def fate(self) -> str:
        """Say what became of the directory, as far as the system knows."""
        moved_to = self.moved_to()
        if moved_to:
            return f"the run directory {self._run.path} was moved to {moved_to}"
        became = "replaced" if self._run.path.exists() else "removed"
        return f"the run directory {self._run.path} was {became}"

    def moved_to(self) -> Path | None:
        """Where the directory is now; None where it is nowhere, or that can't be known."""
        try:
            path = os.readlink(f"/proc/self/fd/{self._fd}")
        except OSError:
            return None
        if path.endswith(_DELETED) or not os.path.exists(path):
            return None
        return Path(path).parent
