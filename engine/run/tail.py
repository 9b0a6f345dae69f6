"""Follow a growing file of JSON lines, each line once, a torn last line not before it is whole."""

from pathlib import Path

_SLICE_BYTES = 1 << 20


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

        Empty only where no whole line is left to read.
        """
        lines: list[bytes] = []
        self.is_behind = False
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while not lines and (piece := file.read(_SLICE_BYTES)):
                    self._offset += len(piece)
                    self.is_behind = len(piece) == _SLICE_BYTES
                    *whole, self._torn = (self._torn + piece).split(b"\n")
                    lines = [line for line in whole if line]
        except FileNotFoundError:
            pass
        return lines
