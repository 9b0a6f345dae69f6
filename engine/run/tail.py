"""Follow a growing file of JSON lines, each line once, a torn last line not before it is whole."""

import contextlib
from pathlib import Path

from engine import guarded

_SLICE_BYTES = 1 << 20
_DAMAGE_BYTES = 1 << 16
"""Of a line that is longer than a document may be: enough to be told as damage."""


class Tail:
    """A reader's place in one append-only file, which need not exist yet."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._torn = b""
        self.is_behind = False
        """Whether the last read left off before the file's end."""

    def read_new(self) -> list[bytes]:
        """Read whole lines appended since the last call, about a megabyte at most.

        Empty only where no whole line is left to read, and where the file can't be read. A line
        beyond `guarded.MAX_BYTES` comes cut, so that no reader takes it for what it was.
        """
        lines: list[bytes] = []
        self.is_behind = False
        with contextlib.suppress(OSError, guarded.Unreadable), guarded.opened(self._path) as file:
            file.seek(self._offset)
            while not lines and (piece := file.read(_SLICE_BYTES)):
                self._offset += len(piece)
                self.is_behind = len(piece) == _SLICE_BYTES
                *whole, self._torn = (self._torn + piece).split(b"\n")
                lines = [line for line in whole if line]
                if len(self._torn) > guarded.MAX_BYTES:
                    self._torn = self._torn[:_DAMAGE_BYTES]
        return lines
