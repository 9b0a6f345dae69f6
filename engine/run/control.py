"""What viewers and signals ask of a run, read between steps."""

import signal

from engine import guarded
from engine.run.foothold import Foothold
from engine.run.rundir import RunDir, Want
from engine.run.signals import Signals


class StoppedEarly(Exception):
    """The run was asked to end before its first step, so there is nothing to save."""


class RunControl:
    """Wishes to stop, save or sample, by files and, where they are heard, by signals."""

    def __init__(
        self,
        run: RunDir,
        signals: Signals | None = None,
        *,
        is_resumed: bool = False,
        foothold: Foothold | None = None,
    ) -> None:
        self._tail = run.wishes(are_past=is_resumed)
        self._signals = signals
        self._foothold = foothold
        self._wants: set[Want] = set()
        self._stopped_by: str | None = None

    @property
    def stopped_by(self) -> str | None:
        """Who asked for the end first, or None."""
        if self._stopped_by is None and self._signals and self._signals.first:
            self._stopped_by = signal.Signals(self._signals.first).name
        return self._stopped_by

    def poll(self) -> None:
        """Read what was asked since the last call; lines that hold no known want are skipped.

        Raises `RunGone` where the run's directory is no longer there to be asked in.
        """
        if self._foothold:
            self._foothold.require()
        for line in self._tail.read_new():
            try:
                wish = guarded.parsed_json(line)
                want, by = Want(wish["want"]), str(wish.get("by", "a viewer"))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            self._wants.add(want)
            if want is Want.STOP:
                self._stopped_by = self.stopped_by or by

    def take(self, want: Want) -> bool:
        """Whether something was asked for since it was last taken."""
        was_wanted = Want(want) in self._wants
        self._wants.discard(want)
        return was_wanted
