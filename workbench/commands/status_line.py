"""A line on a terminal that is drawn over itself: what is being done, until it is done."""

import shutil
import sys
from typing import TextIO

from workbench.text.harmless_output import steer
from workbench.text.sanitize import sanitize
from workbench.text.terminal import is_dumb

_CLEARED = "\r\x1b[2K"
"""To the line's beginning, and all of it erased (ECMA-48: CR, EL)."""


class StatusLine:
    """Draws on a stream that is a terminal with a cursor to move, and nothing elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_drawn = self._stream.isatty() and not is_dumb()
        self._text = ""

    def show(self, text: str) -> None:
        """Draw a text in place of the last; an empty one leaves the line blank."""
        if self._is_drawn and text != self._text:
            line = sanitize(text).replace("\n", " ")
            shown = line[: shutil.get_terminal_size().columns - 1]
            steer(self._stream, _CLEARED)
            print(shown, end="", file=self._stream, flush=True)
            self._text = text

    def keep(self) -> None:
        """Leave the text where it stands, and go on below it."""
        if self._text:
            print(file=self._stream, flush=True)
            self._text = ""
