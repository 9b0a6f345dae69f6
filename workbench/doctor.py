"""The doctor's engine, and what it has found out so far."""

import os
import signal
import subprocess

from engine import diagnosis, events, previewdir
from engine.diagnosis import Diagnosis
from engine.previewdir import PreviewDir
from engine.rundir import write_whole
from engine.tail import Tail
from workbench import launch


class Doctor:
    """One examination of the install. Nothing here waits; closing it ends the engine."""

    def __init__(self, files: PreviewDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files, self._lock, self._engine = files, lock, engine
        self._events = Tail(files.events)
        self.doing = "starting"
        """What the engine is at, in words."""
        self.error = ""
        """Why there is no whole diagnosis, once the engine has ended without one."""
        self.has_ended = False

    def poll(self) -> Diagnosis | None:
        """The findings so far; None before the first."""
        code = self._engine.poll()
        is_done = False
        for event in map(events.decode, self._events.read_new()):
            if isinstance(event, events.Phase):
                self.doing = f"{event.name}: {event.detail}"
            if isinstance(event, events.Failed):
                self.error = event.error
            is_done |= isinstance(event, events.Done)
        self.has_ended = is_done or bool(self.error) or code is not None
        if code is not None and not is_done and not self.error:
            self.error = f"the engine ended with exit code {code}"
        record = self._files.read_diagnosis()
        return diagnosis.from_record(record) if record else None

    def close(self) -> None:
        """End the engine and take its files away."""
        if self._engine.poll() is None:
            os.killpg(self._engine.pid, signal.SIGKILL)
            self._engine.wait()
        os.close(self._lock)
        self._files.remove()


def start(*, is_fast: bool) -> Doctor:
    """Start an engine that runs all checks, or the fast ones. Raises `Refusal`."""
    files = previewdir.create()
    write_whole(files.request, {"name": "doctor", "doctor": {"fast": is_fast}})
    lock = files.hold_for_viewer()
    assert lock is not None
    return Doctor(files, lock, launch.start_beside(files, "doctor"))
