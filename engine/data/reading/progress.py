"""Says now and again how far the reading of rows has come."""

import time
from collections.abc import Callable

from engine.problems import Refusal

MAX_ROWS = 50_000_000
"""Of a file; their places alone take more than a gigabyte of memory."""
_EVERY_S = 5.0


class Progress:
    """Tells a viewer of work that takes long; silent where nobody is told."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._told_at = time.monotonic()

    def at(self, origin: str, num_rows: int, doing: str) -> None:
        """So many rows of a file are done."""
        self._say(f"{origin}: {num_rows:,} rows {doing}")

    def bytes_at(self, origin: str, num_bytes: int) -> None:
        """So much of a file is read, of which no row is known yet."""
        self._say(f"{origin}: {num_bytes / (1 << 30):.1f} GiB read")

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if self._tell and now - self._told_at >= _EVERY_S:
            self._told_at = now
            self._tell(words)


def require_bounded(origin: str, num_rows: int) -> None:
    """Raises `Refusal` where a file has more rows than can be taken in."""
    if num_rows > MAX_ROWS:
        reason = f"it has more than {MAX_ROWS:,} rows"
        raise Refusal.of(origin, reason, "Give a part of it, or several files with less in each")
