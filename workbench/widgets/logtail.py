"""The last lines of a log."""

import re
from collections.abc import Sequence

from workbench.text.sanitize import clean
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class LogTail(Pager):
    """Follows the end until moved away from it."""

    follows = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[str] = ()

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines instead."""
        if lines != self._lines:
            self._lines = lines
            self.redraw()

    def lines(self, width: int) -> list[Row]:
        """A row per line. Of a line that overwrote itself the last word stands; colours go."""
        if not self._lines:
            return [[("nothing in the log", "dim")]]
        return [[(_last_word(line), "dim")] for line in self._lines]


def _last_word(line: str) -> str:
    return clean(_COLOUR.sub("", line).rstrip("\r").rpartition("\r")[2])
