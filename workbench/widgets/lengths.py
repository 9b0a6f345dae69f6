"""How long the rows of a source are, as bars."""

from engine.sessions.source_report import SourceReport
from workbench.text.preview_page import bars
from workbench.text.token_marks import TextStyle
from workbench.widgets.canvas import Canvas, Row

_MIN_BAR = 4


class Lengths(Canvas):
    """A bar for each range of lengths."""

    def __init__(self, ink: TextStyle, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ink = ink
        self._source: SourceReport | None = None

    def show(self, source: SourceReport | None) -> None:
        """Show another source's."""
        if source is not self._source:
            self._source = source
            self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """Range, bar, number of rows."""
        if self._source is None or not self._source.histogram:
            return [[("no rows", "dim")]]
        widest = max(
            len(lengths) + len(rows) for lengths, _, rows in bars(self._source, 1, self._ink)
        )
        cells = max(_MIN_BAR, width - widest - 3)
        return [
            [(f"{lengths}  ", "dim"), (bar, "accent"), (f" {rows}" if bar else "", "")]
            for lengths, bar, rows in bars(self._source, cells, self._ink)
        ]
