"""POSIX record locks on a run's lock file: who is alive, without a heartbeat.

Record locks (`lockf`) and not `flock`: a forked worker does not inherit them, so they fall with the
process that took them. They also fall when that process closes the file anywhere, so it is opened
once and kept.
"""

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path

from engine import guarded

ENGINE = 0
"""Byte held by the engine for its life."""
SUPERVISOR = 1
"""Byte held by the supervisor, which also covers the engine's start and its ending."""

BUSY_ERRNOS = {errno.EAGAIN, errno.EACCES}
"""What a lock is refused with where another has it; all else is the file system's (fcntl(2))."""


class NoLocks(OSError):
    """A file system that grants no locks, as Lustre, NFS and FUSE may: who is at work, none knows.

    Two engines could write into one run there.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        why = f"its file system grants no locks ({guarded.reason(error)})"
        super().__init__(error.errno, why, str(path.parent))


def hold(path: Path, byte: int, patience_s: float = 0.5) -> int | None:
    """Take one byte of the lock file; the descriptor to keep, or None where another has it.

    A reader's probe holds the byte for microseconds, hence the patience. Raises `NoLocks`.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return fd
        except OSError as error:
            if error.errno in BUSY_ERRNOS and time.monotonic() <= deadline:
                time.sleep(0.02)
                continue
            os.close(fd)
            if error.errno in BUSY_ERRNOS:
                return None
            raise NoLocks(path, error) from None


def sign(fd: int) -> None:
    """Tell in the lock file who holds it, for those that are refused; the lock itself is the proof.

    A process number comes back some day, also after a start of the machine: with the moment of the
    process's start and the machine's boot it is one process's name for good.
    """
    signature = {"pid": os.getpid(), "host": socket.gethostname(), **_identity(os.getpid())}
    os.pwrite(fd, json.dumps(signature).encode() + b"\n", 0)


def holder(path: Path) -> str:
    """Say who holds the lock; empty where nobody signed, or not the one that holds it."""
    try:
        signed = guarded.parsed_json(guarded.contents(path).split(b"\n")[0])
        pid, host = int(signed["pid"]), str(signed["host"])
        identity = {key: signed[key] for key in ("boot_id", "started")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    if host != socket.gethostname():
        return f"process {pid} on {host}"
    return f"process {pid}" if identity == _identity(pid) else ""


def _identity(pid: int) -> dict[str, str]:
    """Tell a process from one that had its number before; see proc(5), starttime."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return {"boot_id": "", "started": ""}
    return {"boot_id": boot_id, "started": started}


def is_held(path: Path) -> bool:
    """Whether an engine or a supervisor is alive; not to be asked by the one that holds it.

    Where no locks are granted none can have begun.
    """
    error = _refusal(path)
    return error is not None and error.errno in BUSY_ERRNOS


def require(path: Path) -> None:
    """Raises `NoLocks` where the file system of a file grants none; not for a lock that is held."""
    error = _refusal(path)
    if error and error.errno not in BUSY_ERRNOS:
        raise NoLocks(path, error)


def _refusal(path: Path) -> OSError | None:
    """What keeps this process from sharing both bytes; None too where there is no such file."""
    try:
        file = guarded.opened(path)
    except (OSError, guarded.Unreadable):
        return None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 2, ENGINE)
        except OSError as error:
            return error
    return None
