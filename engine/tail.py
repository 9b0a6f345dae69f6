"""Follow a growing file of JSON lines, each line once, a torn last line not before it is whole."""

from pathlib import Path

_SLICE_BYTES = 1 << 20


class Tail:
    """A reader's place in one append-only file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def read_new(self) -> list[bytes]:
        """Whole lines appended since the last call, at most about a megabyte at a time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                piece = file.read(_SLICE_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in lines if line]
