"""A playground over its engine: one run's base and adapter, asked, stopped, closed."""

import contextlib
from pathlib import Path

from engine.problems import Refusal
from engine.run.job import Job
from engine.run.rundir import RunDir
from engine.sessions import playground, wire
from engine.sessions.playground import Command, Opening
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession


class Playground(EngineSession):
    """One engine that answers prompts."""

    def send(self, command: Command) -> None:
        """Hand a command to the engine."""
        self._files.append(wire.line(command))


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
