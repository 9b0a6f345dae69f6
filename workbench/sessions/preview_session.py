"""A preview over its engine: started once, asked as often as the recipe changes, closed."""

import contextlib
import os
import signal
import subprocess

from engine import events
from engine.recipe.schema import Recipe
from engine.run.job import Job
from engine.run.tail import Tail
from engine.sessions import session_dir
from engine.sessions.preview import Broken, Question, Reply, encode_question, from_record
from engine.sessions.session_dir import PreviewDir
from workbench import launch

_CLOSING_S = 1.0
_LOG_BYTES = 4096


class Preview:
    """One engine that answers questions about recipes. Nothing here waits, but for `close`."""

    def __init__(self, files: PreviewDir, lock: int, engine: "subprocess.Popen[bytes]") -> None:
        self._files = files
        self._lock = lock
        self._engine = engine
        self._events = Tail(files.events)
        self._asked = self._answered = 0
        self._is_log_kept = False
        self.phase = "starting"
        """What the engine is at, in words."""

    @property
    def is_alive(self) -> bool:
        """Whether its engine can still be asked."""
        return self._engine.poll() is None

    @property
    def is_waiting(self) -> bool:
        """Whether the last question has no reply yet."""
        return self._answered < self._asked

    def ask(
        self, recipe: Recipe, *, rows: int = 0, source: str = "", first: int | None = None
    ) -> int:
        """Ask for a preview; its number. A question before it that has no reply yet is dropped."""
        self._asked += 1
        question = Question(self._asked, recipe, rows, source, first)
        self._files.append(encode_question(question))
        return self._asked

    def poll(self) -> Reply | None:
        """The reply to the last question, once; None while there is none."""
        if not self.is_waiting:
            return None
        for event in map(events.decode, self._events.read_new()):
            if isinstance(event, events.Phase):
                self.phase = f"{event.name}: {event.detail}"
        ended = self._engine.poll() is not None
        record = self._files.take_reply(self._asked)
        if record is None and not ended:
            return None
        reply = from_record(record) if record else self._death()
        self._answered = self._asked
        self._is_log_kept |= isinstance(reply, Broken)
        return reply

    def _death(self) -> Broken:
        code = self._engine.returncode
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        with contextlib.suppress(OSError), self._files.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            said = log.read().decode(errors="replace").strip().rpartition("\n")[2]
            how += f": {said}" if said else ""
        return Broken(self._asked, f"the engine was {how}", str(self._files.log))

    def close(self) -> None:
        """End the engine and take its files away; only a log that tells of a fault is left."""
        if self._engine.poll() is None:
            self._end()
        os.close(self._lock)
        if not self._is_log_kept:
            self._files.remove()

    def _end(self) -> None:
        """Tell the engine and its data processes to end, and see to it."""
        # One that was never asked is at its imports, through which it hears nothing.
        os.killpg(self._engine.pid, signal.SIGTERM if self._asked else signal.SIGKILL)
        try:
            self._engine.wait(_CLOSING_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._engine.pid, signal.SIGKILL)
            self._engine.wait()


def start() -> Preview:
    """Start an engine; it says nothing before it is asked. Raises `Refusal`."""
    files = session_dir.create()
    lock = files.hold_for_viewer()
    assert lock is not None
    return Preview(files, lock, launch.start_beside(files, Job.PREVIEW))
