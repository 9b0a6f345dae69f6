"""What viewers and signals ask of a run, read between steps."""

import json
import signal

from engine.rundir import RunDir


class StoppedEarly(Exception):
    """The run was asked to end before its first step, so there is nothing to save."""


class Wishes:
    """Wishes to stop, save or sample; made early, so that a signal is heard from the start on."""

    def __init__(self, run: RunDir) -> None:
        self._tail = run.wishes()
        self._wanted: set[str] = set()
        self.stopped_by: str | None = None
        """Who asked for the end, or None."""
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, _frame: object) -> None:
        self.stopped_by = self.stopped_by or signal.Signals(number).name

    def poll(self) -> None:
        """Read what was asked since the last call; lines that make no sense are skipped."""
        for line in self._tail.read_new():
            try:
                wish = json.loads(line)
                want, by = str(wish["want"]), str(wish.get("by", "a viewer"))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            self._wanted.add(want)
            if want == "stop":
                self.stopped_by = self.stopped_by or by

    def take(self, want: str) -> bool:
        """Whether something was asked for since it was last taken."""
        was_wanted = want in self._wanted
        self._wanted.discard(want)
        return was_wanted
