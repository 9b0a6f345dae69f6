"""Files that are there whole or not at all, whatever ends the process or fills the disk."""

import contextlib
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

OWNER_ONLY = 0o600
_FOLDERS_ARE_NOT_FLUSHED = {
    errno.EINVAL, errno.EBADF, errno.EISDIR, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP,
    errno.ENOSYS,
}  # fmt: skip
"""With what CIFS, FUSE and others refuse to open or flush a folder: the errors that PostgreSQL's
fsync_fname passes over, and those of a call that isn't there."""


def partial_path(path: Path) -> Path:
    """Where this process writes what is to become `path`."""
    return path.with_name(f"{path.name}.{os.getpid()}.part")


@contextlib.contextmanager
def replacing(
    path: Path, *, mode: int = OWNER_ONLY, is_durable: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` at the end; on an error nothing of it is left.

    One that is durable is on the disk before it does. Raises `OSError`.
    """
    partial = partial_path(path)
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_whole(path: Path, content: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Write bytes, and see them on the disk. Raises `OSError`."""
    with replacing(path, mode=mode) as file:
        file.write(content)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document for people and programs, and see it on the disk. Raises `OSError`."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    # A lone surrogate becomes JSON's escape.
    write_whole(path, text.encode("utf-8", "backslashreplace") + b"\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines that can be made anew if the machine goes down. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, is_durable=False) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        text.writelines(lines)
        text.detach()


def sync_folder(folder: Path) -> bool:
    """Put the names in a folder on the disk; whether it knows how to. Raises `OSError`."""
    try:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in _FOLDERS_ARE_NOT_FLUSHED:
            raise
        return False
    return True
