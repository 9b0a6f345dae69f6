"""A long run read by a second process while this one still starts the app."""

import os
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from engine.run.rundir import RunDir

if TYPE_CHECKING:
    from workbench.run_view.run_reader import RunReader

_WORTH_BYTES = 8 << 20
"""Shorter runs are read before a second process is under way."""
_TELL_EVERY_S = 0.5
_NOBODY: tuple[int, BinaryIO | None] = (0, None)


class Ahead:
    """What the other process reads, as it gets on. Made before anything starts a thread."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._pid, self._told = _begin(run) if _is_long(run) else _NOBODY

    def watches(self) -> Iterator["RunReader"]:
        """Ever later states of reading; the last one goes on from there."""
        from workbench.run_view.run_reader import RunReader

        told, self._told = self._told, None
        if told is not None:
            with _ended(self._pid), told, suppress(EOFError, pickle.UnpicklingError):
                while True:
                    yield pickle.load(told)
        else:
            yield RunReader(self._run)


def _is_long(run: RunDir) -> bool:
    try:
        return run.events.stat().st_size >= _WORTH_BYTES
    except OSError:
        return False


def _begin(run: RunDir) -> tuple[int, BinaryIO]:
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ours)
        return pid, os.fdopen(theirs, "rb")
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the key is for the app
        os.close(theirs)
        with os.fdopen(ours, "wb") as told:
            _read(run, told)
    finally:
        os._exit(0)


def _read(run: RunDir, told: BinaryIO) -> None:
    from workbench.run_view.run_reader import RunReader

    watch, told_at = RunReader(run), time.monotonic()
    while watch.read() and watch.is_behind:
        if time.monotonic() - told_at >= _TELL_EVERY_S:
            pickle.dump(watch, told)
            told.flush()
            told_at = time.monotonic()
    pickle.dump(watch, told)


@contextmanager
def _ended(pid: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
