"""POSIX record locks on a run's lock file: who is alive, without a heartbeat.

Record locks (`lockf`) and not `flock`: a forked worker does not inherit them, so they fall with the
process that took them. They also fall when that process closes the file anywhere, so it is opened
once and kept.
"""

import fcntl
import os
import time
from pathlib import Path

ENGINE = 0
"""Byte held by the engine for its life."""
SUPERVISOR = 1
"""Byte held by the supervisor, which also covers the engine's start and its ending."""


def hold(path: Path, byte: int, patience_s: float = 1.0) -> int | None:
    """Take one byte of the lock file; the descriptor to keep, or None when another holds it.

    A reader's probe holds the byte for microseconds, hence the patience.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return fd
        except OSError:
            if time.monotonic() > deadline:
                os.close(fd)
                return None
            time.sleep(0.02)


def is_held(path: Path) -> bool:
    """Whether an engine or a supervisor is alive; not to be asked by the one that holds it."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 2, ENGINE)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(fd)
