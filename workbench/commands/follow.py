"""Follow a run without the app: another viewer of its directory, and its exit code."""

import os
import signal
import sys
import time
from argparse import Namespace
from types import FrameType
from typing import Protocol

from engine import events
from engine.problems import ExitCode
from engine.run.rundir import RunDir, RunStatus, Want
from engine.run.tail import Tail
from workbench.text.terminal import is_dumb

_POLL_S = 0.1
_GOES_WITHIN_S = 10.0
"""An engine that has said its last word still frees its memory, and its end is written down."""


class Printer(Protocol):
    """Prints a run as it goes on."""

    def show(self, lines: list[bytes], batch: list[events.Event]) -> None:
        """Print new events: raw lines, and those of them that are understood."""

    def note(self, text: str) -> None:
        """Print what is no event."""


class _Left(Exception):
    """The viewer goes, the run stays; carries the exit code."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


class Follower:
    """Reads one run to its end. Ctrl-C asks the run to stop and save; a second one leaves it.

    SIGTERM and SIGHUP leave it too, but not SIGTERM below Slurm, which ends a job's processes all
    together and kills the others as soon as this one is gone: there the run is asked to stop, and
    waited for. SIGUSR1, which Slurm is told to send ahead of a limit, does that anywhere.
    """

    def __init__(self, run: RunDir, printer: Printer, bytes_before: int = 0) -> None:
        self._run = run
        self._bytes_before = bytes_before
        self._printer = printer
        self._asked_to_stop = False
        self._unread_lines = 0
        self._pending_note = ""
        """Of a signal's handler, which may have interrupted a print, so it can't print itself."""

    def follow(self) -> int:
        """Follow it; an exit code: 0 done, 1 failed or died, 130 stopped here, 143 by others."""
        ends = self._pre_empted if "SLURM_JOB_ID" in os.environ else self._terminated
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, self._interrupted),
            signal.SIGTERM: signal.signal(signal.SIGTERM, ends),
            signal.SIGHUP: signal.signal(signal.SIGHUP, self._terminated),
            signal.SIGUSR1: signal.signal(signal.SIGUSR1, self._pre_empted),
        }
        try:
            return self._until_the_end()
        except _Left as left:
            for number in previous:
                signal.signal(number, signal.SIG_DFL)
            self._printer.note(f"the run goes on; come back: gemma-bench attach {self._run.path}")
            return left.exit_code
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _until_the_end(self) -> int:
        tail = Tail(self._run.events, self._bytes_before)
        ending: events.Done | events.Failed | None = None
        while True:
            if self._pending_note:
                note, self._pending_note = self._pending_note, ""
                self._printer.note(note)
            was_alive = self._run.is_alive()
            lines = tail.read_new()
            batch = [event for event in map(events.decode, lines) if event]
            self._printer.show(lines, batch)
            self._unread_lines += len(lines) - len(batch)
            ending = _ending(ending, batch)
            if ending and not tail.is_behind:
                self._wait_for_the_engine_to_go()
                return self._exit_code(ending)
            if not lines and not was_alive:
                self._printer.note(self._what_became())
                return 1
            if not lines:
                time.sleep(_POLL_S)

    def _wait_for_the_engine_to_go(self) -> None:
        """Nothing is written into the run's folder after this command, so a script can copy it."""
        deadline = time.monotonic() + _GOES_WITHIN_S
        while self._run.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _what_became(self) -> str:
        """Say why no more of the run is told."""
        if not self._run.exists:
            return f"{self._run.path} was removed or moved; its engine ends after the step it is at"
        state = self._run.state()
        became = "is damaged" if state.name is RunStatus.DAMAGED else "died"
        return f"the run {became}: {state.cause}; log: {self._run.log}"

    def _exit_code(self, ending: events.Done | events.Failed) -> int:
        if self._unread_lines:
            what = "lines of its events are damaged or of a later version, and were left out"
            self._printer.note(f"{self._unread_lines} {what}")
        if isinstance(ending, events.Failed):
            return 1
        if not ending.stopped_by:
            return 0
        return ExitCode.INTERRUPTED if self._asked_to_stop else ExitCode.STOPPED

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._asked_to_stop:
            raise _Left(ExitCode.INTERRUPTED)
        self._asked_to_stop = True
        self._ask_to_stop("Ctrl-C", "; Ctrl-C again leaves the run to it")

    def _pre_empted(self, number: int, frame: FrameType | None) -> None:
        self._ask_to_stop(signal.Signals(number).name, "")

    def _ask_to_stop(self, by: str, way_out: str) -> None:
        self._pending_note = f"stopping after this step, then saving{way_out}"
        try:
            self._run.ask(Want.STOP, by)
        except OSError as error:
            self._pending_note = f"the run could not be asked to stop: {error}{way_out}"

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        raise _Left(128 + number)


def _ending(
    ending: events.Done | events.Failed | None, more: list[events.Event]
) -> events.Done | events.Failed | None:
    """How a run ended, with more of its events; one that was resumed has not ended."""
    for event in more:
        if isinstance(event, events.Done | events.Failed):
            ending = event
        elif isinstance(event, events.Hello):
            ending = None
    return ending


def follow_or_leave(run: RunDir, arguments: Namespace, bytes_before: int = 0) -> int:
    """Follow a run that was started, or with --detach print where it is and leave it."""
    if arguments.detach:
        print(run.path)
        return ExitCode.DONE
    return follow(run, as_json=arguments.json, bytes_before=bytes_before)


def follow(run: RunDir, *, as_json: bool, bytes_before: int = 0) -> int:
    """Follow a run on this terminal, pipe or file to its end; its exit code.

    `bytes_before` of its events are not shown.
    """
    from workbench.commands.event_text import Json, Lines, ProgressLine

    printer: Printer
    if as_json:
        printer = Json()
    elif sys.stdout.isatty() and not is_dumb():
        printer = ProgressLine(run)
    else:
        printer = Lines(run)
    return Follower(run, printer, bytes_before).follow()
