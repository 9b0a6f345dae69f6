"""What a terminal would show of the bytes that an app writes: characters only, no colours."""

import re

_PIECE = re.compile(
    rb"\x1b\[(\d*);?(\d*)H|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P_^X].*?(?:\x07|\x1b\\)|\x1b.|[\r\n]"
    rb"|[^\x1b\r\n]+",
    re.DOTALL,
)


class ReadScreen:
    """Knows text, line ends and the placing of the cursor, which is all that Textual writes."""

    def __init__(self, columns: int, rows: int) -> None:
        self._cells = [[" "] * columns for _ in range(rows)]
        self._x = self._y = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take more bytes; a sequence or a character that is cut off waits for its end."""
        data = self._rest + data
        keep = max(data.rfind(b"\x1b"), 0)
        whole = len(data) if _is_whole(data[keep:]) else keep
        while 0 < whole < len(data) + 1 and _cuts_character(data[:whole]):
            whole -= 1
        self._rest = data[whole:]
        for piece in _PIECE.finditer(data[:whole]):
            self._take(piece)

    def rows(self) -> list[str]:
        """The text on it."""
        return ["".join(row).rstrip() for row in self._cells]

    def _take(self, piece: re.Match[bytes]) -> None:
        text = piece[0]
        if text == b"\n":
            self._y += 1
        elif text == b"\r":
            self._x = 0
        elif text.endswith(b"H") and text.startswith(b"\x1b["):
            self._y, self._x = int(piece[1] or 1) - 1, int(piece[2] or 1) - 1
        elif not text.startswith(b"\x1b"):
            for char in text.decode(errors="replace"):
                if self._y < len(self._cells) and self._x < len(self._cells[0]):
                    self._cells[self._y][self._x] = char
                self._x += 1


def _is_whole(last: bytes) -> bool:
    piece = _PIECE.match(last)
    return piece is None or not (piece[0] == b"\x1b[" or last == b"\x1b")


def _cuts_character(data: bytes) -> bool:
    tail = data[-4:]
    lead = next((at for at in range(len(tail) - 1, -1, -1) if tail[at] & 0xC0 != 0x80), None)
    if lead is None or tail[lead] < 0xC0:
        return False
    size = 2 + (tail[lead] >= 0xE0) + (tail[lead] >= 0xF0)
    return len(tail) - lead < size
