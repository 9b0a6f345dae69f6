"""One run's files, read as they grow and folded into what they tell."""

import socket
import time
from collections import deque
from dataclasses import replace

from engine import events
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from workbench.run_view.run_state import RunState

LOOK_EVERY_S = 1.0
"""How often to ask whether the engine still lives."""
_LOG_LINES = 400
_DECODED_LINES = 512
"""At a time: of thousands, the garbage collector would look at every event again and again."""


class RunReader:
    """Reads a run from its first event on; nothing is written."""

    def __init__(self, run: RunDir) -> None:
        self._dir = run
        self._events, self._log = Tail(run.events), Tail(run.log)
        self._lines = deque[str](maxlen=_LOG_LINES)
        self._looked_at = time.monotonic()
        self.run = RunState()
        self.state = run.state()

    @property
    def log(self) -> tuple[str, ...]:
        """The last lines of the engine's output."""
        return tuple(self._lines)

    @property
    def is_behind(self) -> bool:
        """Whether the last read left some of the events for the next."""
        return self._events.is_behind

    def read(self) -> bool:
        """Take in what the files tell since; whether there was anything."""
        batch, logged = self._events.read_new(), self._log.read_new()
        for start in range(0, len(batch), _DECODED_LINES):
            self._fold(batch[start : start + _DECODED_LINES])
        self._lines.extend(line.decode("utf-8", "replace") for line in logged)
        before = self.state
        if self.run.is_ended or time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self.state, self._looked_at = self._dir.state(), time.monotonic()
        return bool(batch or logged) or self.state != before

    def _fold(self, lines: list[bytes]) -> None:
        read = [event for event in events.decode_all(lines) if event is not None]
        run = self.run.fold(read)
        self.run = replace(run, unread_lines=run.unread_lines + len(lines) - len(read))


def is_here(hello: events.Hello) -> bool:
    """Whether the engine runs on this machine, so that its meters are this machine's."""
    return hello.host == socket.gethostname()
