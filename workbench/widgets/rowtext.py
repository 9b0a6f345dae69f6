"""One side of a row: what is trained on, or the prompt at inference."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType

from engine.sessions.preview import Row
from workbench.text.token_marks import CONTROL, CUT, DIFFERENT, LOSS, Line, TextStyle
from workbench.widgets import canvas
from workbench.widgets.pager import Pager

_INKS = {
    0: "",
    LOSS: "loss",
    CONTROL: "control",
    LOSS | CONTROL: "good",
    DIFFERENT: "other",
    DIFFERENT | CONTROL: "other",
    DIFFERENT | LOSS: "other loss",
    DIFFERENT | LOSS | CONTROL: "other loss",
    CUT: "warn",
}


class RowText(Pager, inherit_bindings=False):
    """Marked text; the screen moves it, together with its other side."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        lay_out: Callable[[Row, int, TextStyle], list[Line]],
        ink: TextStyle,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._lay_out = lay_out
        self._ink = ink
        self._row: Row | None = None
        self._laid_out: tuple[int, list[canvas.Row]] = (-1, [])

    def show(self, row: Row | None) -> None:
        """Show this row instead, from its beginning."""
        if row is not self._row:
            self._row, self._laid_out = row, (-1, [])
            self._top = 0
            self.redraw()

    def lines(self, width: int) -> list[canvas.Row]:
        """The row broken into lines, once for each width."""
        if self._laid_out[0] != width:
            lines = self._lay_out(self._row, width, self._ink) if self._row and width else []
            self._laid_out = width, [inked(line) for line in lines]
        return self._laid_out[1]

    def drawn(self, width: int, height: int) -> list[canvas.Row]:
        """The lines in view; where there are more, the last one says so."""
        rows = super().drawn(width, height)
        more = self._num_lines - self._top - len(rows)
        return [*rows[:-1], [(f"{more + 1} lines more", "dim")]] if more > 0 else rows


def inked(line: Line) -> canvas.Row:
    """A line's styles as inks."""
    return [(text, _INKS[style]) for text, style in line]
