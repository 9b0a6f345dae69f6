"""Rows of inked text on a screen, of which only the cells that changed are written again."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from workbench.text.sanitize import clean
from workbench.widgets.palette import palette

Span = tuple[str, str]
"""Text and its ink, a name of the palette."""
Row = Sequence[Span]


class Canvas(Widget):
    """Draws what `drawn` returns. Text is made harmless here, whoever wrote it."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = []
        self._drawn_for = Size()

    def drawn(self, width: int, height: int) -> list[Row]:
        """The rows for a size, from the top; what is missing is blank."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again after a change of what is shown, and write the cells that differ."""
        if self._drawn_for != self.content_size:
            self._drawn_for = Size()
            self.refresh()
            return
        old = self._rows
        self._draw()
        regions = changed(old, self._rows, self.content_size.width)
        if regions:
            self.refresh(*regions)

    def _draw(self) -> None:
        width, height = self._drawn_for = self.content_size
        rows = self.drawn(width, height)[:height] if width else []
        self._rows = [_harmless(row) for row in rows]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows are drawn for a size when it is first painted, so a new size costs one paint."""
        if self._drawn_for != self.content_size:
            self._draw()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One row. Each segment carries a style, for Textual's monochrome filter needs one."""
        width, back = self.content_size.width, self.rich_style
        inks, paper = palette(self.app.theme_variables), Style(bgcolor=back.bgcolor)
        row = self._rows[y] if y < len(self._rows) else ()
        strip = Strip([Segment(text, paper + inks[ink]) for text, ink in row])
        return strip.adjust_cell_length(width, back)

    def text_rows(self) -> list[str]:
        """What stands on it, for tests and for copying."""
        if self._drawn_for != self.content_size:
            self._draw()
        return ["".join(text for text, _ in row).rstrip() for row in self._rows]


def changed(old: Sequence[Row], new: Sequence[Row], width: int) -> list[Region]:
    """Regions that cover every cell in which two drawings differ."""
    regions = []
    for y in range(max(len(old), len(new))):
        before = old[y] if y < len(old) else ()
        after = new[y] if y < len(new) else ()
        if before != after:
            first, last = _differing_cells(before, after, width)
            if last >= first:
                regions.append(Region(first, y, last - first + 1, 1))
    return regions


def _differing_cells(before: Row, after: Row, width: int) -> tuple[int, int]:
    left, right = _cells(before, width), _cells(after, width)
    if left is None or right is None:
        return 0, width - 1
    different = [x for x in range(width) if left[x] != right[x]]
    return (different[0], different[-1]) if different else (0, -1)


def _cells(row: Row, width: int) -> list[Span] | None:
    """Character and ink of each cell; None where a character takes more or less than one."""
    if any(not text.isascii() and cell_len(text) != len(text) for text, _ in row):
        return None
    cells = [(char, ink) for text, ink in row for char in text][:width]
    return cells + [(" ", "")] * (width - len(cells))


def _harmless(row: Row) -> Row:
    return tuple((clean(text).replace("\n", " "), ink) for text, ink in row if text)
