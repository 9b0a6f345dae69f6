"""The engine's pen: stamps events and appends them to the run."""

import dataclasses
import time
from datetime import UTC, datetime

from engine import events
from engine.rundir import RunDir, append_line


class EventLog:
    """Appends to one run, for as long as its engine lives."""

    def __init__(self, run: RunDir) -> None:
        self._path = run.events
        self._began = time.monotonic()
        self._lost = 0
        self.phase = "starting"
        """Name of the phase that was entered last."""

    def append(self, event: events.Event) -> None:
        """Append an event. A full disk can't stop a run: a loss is counted and told later."""
        if isinstance(event, events.Phase):
            self.phase = event.name
        try:
            if self._lost:
                self._write(_lost(self._lost), b"\n")
                self._lost = 0
            self._write(event)
        except OSError:
            self._lost += 1

    def _write(self, event: events.Event, before: bytes = b"") -> None:
        """`before` ends the line that a full disk cut off."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        elapsed = round(time.monotonic() - self._began, 3)
        line = events.encode(dataclasses.replace(event, t=elapsed, time=now))
        append_line(self._path, before + line)


def _lost(count: int) -> events.Warned:
    return events.Warned(
        code="events_lost",
        message=f"{count} events could not be written",
        fix="Free space on the disk of the run directory",
    )
