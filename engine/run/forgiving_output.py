"""Standard output and errors that can't end the process: what is not taken there is lost."""

import contextlib
import io
import os
import sys
from typing import Any


class _ForgivingFile(io.FileIO):
    """A full disk, a pipe without a reader, a device that fails: all as good as /dev/null."""

    def write(self, data: Any, /) -> int:
        """Write what can be; all of it counts as written."""
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


def install() -> None:
    """Let everything that is printed from now on go through it, also by whom we don't know.

    To be called before other modules keep the streams that are there, as loggers do.
    """
    for name, fd in (("stdout", 1), ("stderr", 2)):
        try:
            file = _ForgivingFile(fd, "w", closefd=False)
        except OSError:  # it was closed by whoever started this
            file = _ForgivingFile(os.open(os.devnull, os.O_WRONLY), "w")
        stream = io.TextIOWrapper(file, "utf-8", "backslashreplace", write_through=True)
        setattr(sys, name, stream)
