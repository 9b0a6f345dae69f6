"""Errors of the disk by their number, whoever met them, and what is to outlast a loss of power."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from engine.run.checkpoint_manifest import sync_folder

_NUMBER = re.compile(r"os error (\d+)")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def by_number() -> Iterator[None]:
    """Safetensors tells an error of the disk in words alone, its number among them (Rust's)."""
    try:
        yield
    except SafetensorError as error:
        found = _NUMBER.search(str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number)) from None


def flush(folder: Path) -> None:
    """Put files and their names on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)
