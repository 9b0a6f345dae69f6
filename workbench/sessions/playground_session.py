"""A playground over its engine: one run's base and adapter, asked, stopped, closed."""

import contextlib
import os
from pathlib import Path

from engine import events
from engine.events import Event
from engine.problems import Refusal
from engine.run.job import Job
from engine.run.rundir import RunDir
from engine.sessions import playground
from engine.sessions.playground import Opening, Wish
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession

_LOG_BYTES = 8192


class Playground(EngineSession):
    """One engine. Nothing here waits, but for `close`."""

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


def start(run: RunDir, adapter: str = "") -> Playground:
    """Start an engine on a run's newest adapter, or on a named one. Raises `Refusal`."""
    opening = Opening(str(run.path.resolve()), adapter)
    request = playground.request(opening)
    return engine_session.start(Playground, Job.GENERATE, request, _device(run.path))


def _device(path: Path) -> str:
    """Where the run was trained; what is wrong with its request is the engine's to tell."""
    with contextlib.suppress(Refusal):
        return RunDir(path).read_request().hardware.device
    return "cpu"
