"""Engines that work for this process alone, each in a folder that goes with it."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, TypeVar

from engine import events
from engine.events import Event
from engine.problems import Refusal
from engine.recipe.schema import Recipe
from engine.run import wire
from engine.run.job import Job
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.sessions import playground, session_dir
from engine.sessions.playground import Command, Opening
from engine.sessions.preview import Broken, Question, Reply
from engine.sessions.session_dir import SessionDir
from workbench import launch

_LOG_BYTES = 8192
_CLOSING_S = 1.0


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
    return kind(files, lock, launch.start_beside(files, job, device))


class Preview(EngineSession):
    """One engine that answers questions about recipes."""

    def __init__(self, files: SessionDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        super().__init__(files, lock, engine)
        self._num_questions = self._num_replies = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the last question has no reply yet."""
        return self._num_replies < self._num_questions

    def ask(
        self, recipe: Recipe, *, rows: int = 0, source: str = "", first: int | None = None
    ) -> int:
        """Ask for a preview; its number. A question before it that has no reply yet is dropped."""
        self._num_questions += 1
        self._files.append(wire.line(Question(self._num_questions, recipe, rows, source, first)))
        return self._num_questions

    def poll(self) -> Reply | None:
        """The reply to the last question, once; None while there is none."""
        if not self.is_waiting:
            return None
        self.new_events()
        death = self.death
        record = self._files.take_reply(self._num_questions)
        if record is None and not death:
            return None
        reply: Reply = wire.read(record, Reply) if record else self._broken(death)
        self._num_replies = self._num_questions
        self._is_log_kept |= isinstance(reply, Broken)
        return reply

    def _broken(self, death: str) -> Broken:
        last_line = self.log_tail()[-1:]
        error = ": ".join([f"the engine {death}", *filter(None, last_line)])
        return Broken(self._num_questions, error, str(self._files.log))

    def _end(self) -> None:
        """Tell the engine and its data processes to end, and see to it."""
        # One that was never asked is at its imports, through which it hears nothing.
        if self._num_questions:
            os.killpg(self._engine.pid, signal.SIGTERM)
            try:
                self._engine.wait(_CLOSING_S)
                return
            except subprocess.TimeoutExpired:
                pass
        super()._end()


def start_preview() -> Preview:
    """Start an engine; it says nothing before it is asked. Raises `Refusal`."""
    return start(Preview, Job.PREVIEW, {"name": "preview"})


class Playground(EngineSession):
    """One engine that answers prompts."""

    def send(self, command: Command) -> None:
        """Hand a command to the engine."""
        self._files.append(wire.line(command))


def start_playground(run: RunDir, adapter: str = "") -> Playground:
    """Start an engine on a run's newest adapter, or on a named one. Raises `Refusal`."""
    opening = Opening(str(run.path.resolve()), adapter)
    request = playground.request(opening)
    return start(Playground, Job.GENERATE, request, device_of(run.path))


def device_of(path: Path) -> str:
    """Where the run was trained; what is wrong with its request is the engine's to tell."""
    with contextlib.suppress(Refusal):
        return RunDir(path).read_request().hardware.device
    return "cpu"
