"""A disk that is full: told apart from other errors, told in words, and room kept on it ahead."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK_BYTES = 1 << 20


def full_error(error: BaseException | None) -> OSError | None:
    """Find the error of a full disk in an exception or in what led to it."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        visited.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def cause(error: OSError, path: Path) -> str:
    """Say what is full and how much is free there; `path` is for errors that name no place."""
    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
    existing = next((p for p in (place, *place.parents) if p.exists()), Path("/"))
    if error.errno == errno.EFBIG:
        return f"a file reached the limit that ulimit -f sets, on {_mount(existing)}"
    free = shutil.disk_usage(existing).free / (1 << 20)
    what = "the quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
    return f"{what}, {free:,.1f} MiB free on {_mount(existing)}"


def _mount(path: Path) -> Path:
    path = path.resolve()
    device = path.stat().st_dev
    while path != path.parent and path.parent.stat().st_dev == device:
        path = path.parent
    return path


class Reserve:
    """Room that is taken on a disk and given back when it is needed; it has no name there."""

    def __init__(self, folder: Path, num_bytes: int) -> None:
        """Take the room. Raises `OSError` where there is none; nothing is left of it then."""
        path = folder / f".reserve.{os.getpid()}"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(path)
        try:
            self._fill(num_bytes)
        except OSError:
            self.release()
            raise

    def _fill(self, num_bytes: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, 0, num_bytes)
            return
        # Zeros would take no room where the file system compresses.
        block = os.urandom(min(_BLOCK_BYTES, num_bytes))
        while num_bytes > 0:
            num_bytes -= os.write(self._fd, block[:num_bytes])

    def release(self) -> None:
        """Give the room back; forked workers that have the file as well don't matter."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1
