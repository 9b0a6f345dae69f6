"""A preview over its engine: started once, asked as often as the recipe changes, closed."""

import os
import signal
import subprocess

from engine.recipe.schema import Recipe
from engine.run.job import Job
from engine.sessions import wire
from engine.sessions.preview import Broken, Question, Reply
from engine.sessions.session_dir import SessionDir
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession

_CLOSING_S = 1.0


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


def start() -> Preview:
    """Start an engine; it says nothing before it is asked. Raises `Refusal`."""
    return engine_session.start(Preview, Job.PREVIEW, {"name": "preview"})
