"""Signals to an engine: the first asks it to save and end, a second one ends it at once."""

import os
import signal
import socket
import time
from threading import Thread

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGUSR1 is what Slurm is mostly told to send ahead of a limit (`--signal=USR1@120`)."""
APART_S = 1.0
"""Signals that come closer are one: Slurm sends to each process, and the supervisor passes on."""


class Signals:
    """Hears from its making on. A closed terminal's SIGHUP is ignored.

    Python runs handlers between two of its instructions, which may be a long step apart. The byte
    that it writes for each signal comes at once, and is read in a thread.
    """

    def __init__(self) -> None:
        self.first = 0
        """Number of the first signal; 0 before it."""
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_deafen)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in STOPPING:
            signal.signal(number, self._note)
        Thread(target=self._listen, name="signals", daemon=True).start()

    def _note(self, number: int, _frame: object) -> None:
        self.first = self.first or number

    def _listen(self) -> None:
        first_at: float | None = None
        while byte := self._reader.recv(1):
            number, now = byte[0], time.monotonic()
            if number not in STOPPING:
                continue
            if first_at is None:
                first_at = now
            elif now - first_at >= APART_S:
                # What is on the disk is whole at any moment; nothing is to be put in order.
                os._exit(128 + number)


def _deafen() -> None:
    """A forked worker shares the socket, and what is sent to it is not for the engine."""
    signal.set_wakeup_fd(-1)
