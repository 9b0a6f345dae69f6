"""An engine that works for this process alone, in a folder that goes with it."""

import os
import signal
import subprocess
from typing import Any, TypeVar

from engine.run.job import Job
from engine.run.tail import Tail
from engine.sessions import session_dir
from engine.sessions.session_dir import PreviewDir
from workbench import launch


class EngineSession:
    """One engine and its files. Nothing here waits, but for `close`."""

    def __init__(self, files: PreviewDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files, self._lock, self._engine = files, lock, engine
        self._events = Tail(files.events)

    def close(self) -> None:
        """End the engine, which has nothing to save, and take its files away."""
        if self._engine.poll() is None:
            os.killpg(self._engine.pid, signal.SIGKILL)
            self._engine.wait()
        os.close(self._lock)
        self._files.remove()


_Kind = TypeVar("_Kind", bound=EngineSession)


def start(kind: type[_Kind], job: Job, request: dict[str, Any], device: str = "cpu") -> _Kind:
    """Start a job on a request, in the hands of that kind. Raises `Refusal`."""
    files = session_dir.create()
    files.write_session_request(request)
    lock = files.hold_for_viewer()
    assert lock is not None
    return kind(files, lock, launch.start_beside(files, job, device))
