"""The engine's pen: stamps events and appends them to the run."""

import contextlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine import events, guarded
from engine.run import disk, failpoint
from engine.run.rundir import RunDir, append_line

_DURABLE = (events.Checkpoint, events.Done, events.Failed)
"""What is put on the disk at once, since the next engine's life hangs on it."""
_RESERVE_BYTES = 1 << 16
"""Room for a last word on a disk that has none left."""


class EventLog:
    """Appends to one run, for as long as its engine lives."""

    def __init__(self, run: RunDir) -> None:
        self._path = run.events
        # Not by its path, where another folder may be by and by.
        self._folder = os.open(run.path, os.O_RDONLY | os.O_DIRECTORY)
        self._reserve: disk.Reserve | None = None
        with contextlib.suppress(OSError):
            self._reserve = disk.Reserve(run.path, _RESERVE_BYTES)
        self._began = time.monotonic()
        self._lost = 0
        self._is_torn = _ends_within_a_line(self._path)
        self.phase = "starting"
        """Name of the phase that was entered last."""
        self.last_step = 0
        """The last one that was told, by this engine."""
        self.last_checkpoint = ""
        """Path of the checkpoint that was told last, relative to the run."""

    def append(self, event: events.Event) -> None:
        """Append an event. A full disk can't stop a run: losses are counted and reported later.

        Room for the last one was kept.
        """
        match event:
            case events.Phase():
                self.phase = event.name
            case events.Step():
                self.last_step = event.step
            case events.Checkpoint():
                self.last_checkpoint = event.path
            case events.Done() | events.Failed():
                self._release()
        try:
            if self._lost:
                self._write(_lost(self._lost))
                self._lost = 0
            self._write(event)
        except OSError:
            self._lost += 1
            self._is_torn = True

    def _release(self) -> None:
        if self._reserve:
            self._reserve.release()
            self._reserve = None

    def _write(self, event: events.Event) -> None:
        """A line of its own, apart from one that a full disk or a death cut off."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        elapsed = round(time.monotonic() - self._began, 3)
        line = events.encode(msgspec.structs.replace(event, t=elapsed, time=now))
        failpoint.reached("events.append")
        is_durable = isinstance(event, _DURABLE)
        line = b"\n" + line if self._is_torn else line
        append_line(self._path, line, is_durable=is_durable, folder_fd=self._folder)
        self._is_torn = False


def _ends_within_a_line(path: Path) -> bool:
    """Whether an engine before this one could not write its last line to the end."""
    try:
        with guarded.opened(path) as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def _lost(count: int) -> events.Warned:
    return events.Warned(
        code="events_lost",
        message=f"{count} events could not be written",
        fix="Free space on the disk of the run directory",
    )
