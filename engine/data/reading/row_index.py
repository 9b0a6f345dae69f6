"""Rows of one file by number: lines of a JSON Lines file, found by their place in it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine import guarded
from engine.data.reading.progress import Progress, require_bounded
from engine.data.reading.text_encoding import not_utf8
from engine.problems import Refusal

MAX_ROW_BYTES = 16 << 20
"""Longer rows are dropped unread; a book has a tenth of it."""
UNREADABLE = "\0unreadable"
"""The only key of a line that stands for a row that can't be read; its value says why."""
_BLOCK_BYTES = 8 << 20
_NEWLINE, _RETURN = b"\n\r"


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Where each row of a file stands; `origin` is the file the user named."""

    origin: str
    lines: Path
    numbers: np.ndarray
    """Line of each row, from 1; empty lines are left out. All three are (rows,) of int64."""
    starts: np.ndarray
    ends: np.ndarray
    """Bytes of `lines`, without the line break."""

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, rows: list[int]) -> Iterator[tuple[int, bytes | None]]:
        """Number and bytes of rows; None for one that is too long to be read."""
        with self.lines.open("rb") as file:
            for row in rows:
                start, end = int(self.starts[row]), int(self.ends[row])
                if end - start > MAX_ROW_BYTES:
                    yield int(self.numbers[row]), None
                    continue
                file.seek(start)
                yield int(self.numbers[row]), _utf8(file.read(end - start))


def _utf8(row: bytes) -> bytes:
    """The row, or one that can't be read where its bytes are in another encoding."""
    try:
        if not row.isascii():
            row.decode()
    except UnicodeDecodeError:
        return json.dumps({UNREADABLE: not_utf8(row)}).encode()
    return row


def index_rows(origin: str, lines: Path, progress: Progress) -> RowIndex:
    """Find the rows of a JSON Lines file. Raises `Refusal` where it can't be read."""
    breaks = [np.array([-1])]
    offset = num_rows = 0
    try:
        with guarded.opened(lines) as file:
            while block := file.read(_BLOCK_BYTES):
                breaks.append(np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE) + offset)
                offset += len(block)
                num_rows += len(breaks[-1])
                require_bounded(origin, num_rows)
                progress.at(origin, num_rows, "found")
    except (OSError, guarded.Unreadable) as error:
        raise Refusal.of(origin, guarded.reason(error), "Mend the path") from None
    breaks.append(np.array([offset]))
    ends = np.concatenate(breaks)
    starts, ends = ends[:-1] + 1, ends[1:]
    is_filled = ends > starts
    (short,) = np.nonzero(ends - starts == 1)
    if len(short):
        # A line break of Windows on a line of its own is none.
        is_filled[short] = np.memmap(lines, np.uint8, "r")[starts[short]] != _RETURN
    filled = np.flatnonzero(is_filled)
    return RowIndex(origin, lines, filled + 1, starts[filled], ends[filled])
