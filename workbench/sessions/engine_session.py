"""An engine that works for this process alone, in a folder that goes with it."""

import contextlib
import os
import signal
import subprocess
from typing import Any, TypeVar

from engine import events
from engine.events import Event
from engine.run.job import Job
from engine.run.tail import Tail
from engine.sessions import session_dir
from engine.sessions.session_dir import SessionDir
from workbench import launch

_LOG_BYTES = 8192


class EngineSession:
    """One engine and its files. Nothing here waits, but for `close`."""

    phase = "starting"
    """What the engine is at, in words."""

    def __init__(self, files: SessionDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files, self._lock, self._engine = files, lock, engine
        self._events = Tail(files.events)
        self._is_log_kept = False

    @property
    def is_alive(self) -> bool:
        """Whether the engine can still be asked."""
        return self._engine.poll() is None

    @property
    def death(self) -> str:
        """How the engine ended, in words; empty while it lives."""
        code = self._engine.poll()
        if code is None:
            return ""
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def new_events(self) -> list[Event]:
        """What the engine told since the last call; its phase is kept, in words."""
        decoded = [event for event in map(events.decode, self._events.read_new()) if event]
        for event in decoded:
            if isinstance(event, events.Phase):
                self.phase = f"{event.name}: {event.detail}"
        return decoded

    def log_tail(self) -> list[str]:
        """The last lines of the engine's log."""
        with contextlib.suppress(OSError), self._files.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            return log.read().decode(errors="replace").rstrip("\n").split("\n")
        return []

    def close(self) -> None:
        """End the engine and take its files away; only a log that tells of a fault is left."""
        if self.is_alive:
            self._end()
        os.close(self._lock)
        if not self._is_log_kept:
            self._files.remove()

    def _end(self) -> None:
        """End an engine that has nothing to save."""
        os.killpg(self._engine.pid, signal.SIGKILL)
        self._engine.wait()


_Kind = TypeVar("_Kind", bound=EngineSession)


def start(kind: type[_Kind], job: Job, request: dict[str, Any], device: str = "cpu") -> _Kind:
    """Start a job on a request, in the hands of that kind. Raises `Refusal`."""
    files = session_dir.create(request)
    lock = files.hold_for_viewer()
    assert lock is not None
    return kind(files, lock, launch.start_beside(files, job, device))
