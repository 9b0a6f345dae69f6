"""Checks at work in two processes, where there are two cores for them.

The second is forked once the packages are imported, which takes longer than most checks do, and
before anything is computed, as threads of a pool would not be there in it. It touches no card.
"""

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp

import torch

from engine.doctor.check import Check, Measurement
from engine.doctor.specimens import Specimens

_POLL_S = 0.1


def measurements(
    checks: Sequence[Check], specimens: Specimens, look_up: Callable[[], None]
) -> Generator[Measurement]:
    """What each check measures, in their order; each process takes the next that nobody has.

    `look_up` is called between checks and while this process waits, and may raise to end both.
    What a second process that dies leaves undone is done here.
    """
    waiting, numbers = os.pipe()
    os.write(numbers, bytes(range(len(checks))))
    os.close(numbers)
    measured: dict[int, Measurement] = {}
    with _Second(waiting, checks, specimens) as second:
        for number, check in enumerate(checks):
            while number not in measured:
                look_up()
                if number_byte := os.read(waiting, 1):
                    measured[number_byte[0]] = checks[number_byte[0]].measured(specimens)
                elif not second.is_alive:
                    measured[number] = check.measured(specimens)
                second.hand_over(measured, 0 if number_byte else _POLL_S)
            yield measured.pop(number)
    os.close(waiting)


class _Second:
    """The other process; none where a fork is not safe or wins nothing."""

    def __init__(self, waiting: int, checks: Sequence[Check], specimens: Specimens) -> None:
        self.is_alive = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
        context = get_context("fork")
        self._results, own = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_measure, args=(waiting, checks, specimens, own), daemon=True
        )
        if self.is_alive:
            self._process.start()
        own.close()

    def __enter__(self) -> "_Second":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process.pid:
            self._process.kill()
            self._process.join()

    def hand_over(self, measured: dict[int, Measurement], patience_s: float) -> None:
        """Add what was measured by now."""
        try:
            while self.is_alive and self._results.poll(patience_s):
                number, measurement = self._results.recv()
                measured[number] = measurement
                patience_s = 0
        except EOFError:
            self.is_alive = False


def _measure(
    waiting: int, checks: Sequence[Check], specimens: Specimens, results: Connection
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    # Torch makes its pool anew after a fork, but not safely from two threads at once.
    torch.set_num_threads(torch.get_num_threads())
    specimens.folder = Path(mkdtemp(dir=specimens.folder))
    while number_byte := os.read(waiting, 1):
        results.send((number_byte[0], checks[number_byte[0]].measured(specimens)))
