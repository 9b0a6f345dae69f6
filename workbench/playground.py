"""A playground over its engine: one run's base and adapter, asked, stopped, closed."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from engine import events, playground, previewdir
from engine.events import Event
from engine.playground import Opening, Wish
from engine.previewdir import PreviewDir
from engine.rundir import RunDir, write_whole
from engine.tail import Tail
from workbench import launch

_LOG_BYTES = 8192


class Playground:
    """One engine. Nothing here waits, but for `close`."""

    def __init__(self, files: PreviewDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files, self._lock, self._engine = files, lock, engine
        self._events = Tail(files.events)

    def ask(self, wish: Wish) -> None:
        """Hand a wish to the engine."""
        self._files.append(playground.encode(wish))

    def read_new(self) -> list[Event]:
        """What the engine told since the last call."""
        found = map(events.decode, self._events.read_new())
        return [event for event in found if event is not None]

    @property
    def death(self) -> str:
        """How the engine ended, in words; empty while it lives."""
        code = self._engine.poll()
        if code is None:
            return ""
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def last_words(self) -> list[str]:
        """The last lines of the engine's log."""
        with contextlib.suppress(OSError), self._files.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            return log.read().decode(errors="replace").rstrip("\n").split("\n")
        return []

    def close(self) -> None:
        """End the engine, which has nothing to save, and take its files away."""
        if self._engine.poll() is None:
            os.killpg(self._engine.pid, signal.SIGKILL)
            self._engine.wait()
        os.close(self._lock)
        self._files.remove()


def start(run: RunDir, adapter: str = "") -> Playground:
    """Start an engine on a run's newest adapter, or on a named one. Raises `Refusal`."""
    files = previewdir.create()
    opening = Opening(str(run.path.resolve()), adapter)
    write_whole(files.request, playground.request(opening))
    lock = files.hold_for_viewer()
    assert lock is not None
    return Playground(files, lock, launch.start_beside(files, "generate", _device(run.path)))


def _device(path: Path) -> str:
    """Where the run was trained; what is wrong with its request is the engine's to tell."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(RunDir(path).read_request()["hardware"]["device"])
    return "cpu"
