"""Rows of inked text on a screen, of which only the cells that changed are written again."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from workbench.text.sanitize import sanitize
from workbench.text.styled import Row, Span
from workbench.widgets.palette import palette
from workbench.widgets.quiet_keys import moving_keys, quiet_key

_FAR = 1_000_000
"""More rows than anything has."""


class Canvas(Widget):
    """Draws what `drawn` returns. Text is made harmless here, whoever wrote it."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = []
        self._drawn_for = Size()
        self._auto_height = 0

    def drawn(self, width: int, height: int) -> list[Row]:
        """The rows for a size, from the top; what is missing is blank."""
        raise NotImplementedError

    def num_rows(self, width: int) -> int:
        """How many rows it takes where the style sheet leaves its height to it."""
        return len(self.drawn(width, _FAR))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Textual's question for it."""
        self._auto_height = self.num_rows(width)
        return self._auto_height

    def redraw(self) -> None:
        """Draw again after a change of what is shown, and write the cells that differ."""
        width = self.content_size.width
        if self.styles.is_auto_height and self._auto_height != self.num_rows(width):
            self.refresh(layout=True)
        if self._drawn_for != self.content_size:
            self._drawn_for = Size()
            self.refresh()
            return
        old = self._rows
        self._draw()
        regions = changed(old, self._rows, width)
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


class Drawing(Canvas):
    """Shows rows as they are laid out for its size."""

    _lay_out: Callable[[int, int], list[Row]] = staticmethod(lambda width, height: [])

    def show(self, lay_out: Callable[[int, int], list[Row]]) -> None:
        """Show the rows that this gives for a width and a height."""
        self._lay_out = lay_out
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """What it was handed."""
        return self._lay_out(width, height)


class Pager(Canvas, can_focus=True):
    """More rows than it shows, moved by keys or the wheel.

    One that follows stays at the end until it is moved away from it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *moving_keys("pagedown,space"),
        quiet_key("text-line", "enter", "move(1)", "On", "One line down"),
    ]
    _lay_out: Callable[[int], list[Row]] = staticmethod(lambda width: [])
    _head: Callable[[int], list[Row]] | None = None

    def __init__(self, *, follows: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._top = 0
        self._num_lines = self._room = 0
        self._follows = self._is_at_end = follows

    def show_lines(
        self, lay_out: Callable[[int], list[Row]], head: Callable[[int], list[Row]] | None = None
    ) -> None:
        """Show the rows that this gives for a width, below those of a head."""
        self._lay_out, self._head = lay_out, head
        self.redraw()

    def lines(self, width: int) -> list[Row]:
        """All rows for a width."""
        return self._lay_out(width)

    def head(self, width: int) -> list[Row]:
        """Rows that stay above those that move."""
        return self._head(width) if self._head else []

    def num_rows(self, width: int) -> int:
        """All that it has."""
        return len(self.head(width)) + len(self.lines(width))

    @property
    def is_cut(self) -> bool:
        """Whether there is more than it has room for."""
        return self.num_rows(self.content_size.width) > self.content_size.height

    def drawn(self, width: int, height: int) -> list[Row]:
        """The head, and the rows in view."""
        head, rows = self.head(width), self.lines(width)
        self._num_lines, self._room = len(rows), max(0, height - len(head))
        last_top = max(0, len(rows) - self._room)
        self._top = last_top if self._is_at_end else min(self._top, last_top)
        return [*head, *rows[self._top : self._top + self._room]]

    def action_move(self, by: int) -> None:
        """Move the view by so many lines."""
        last_top = max(0, self._num_lines - self._room)
        self._top = max(0, min(last_top, self._top + by))
        self._is_at_end = self._follows and self._top == last_top
        self.redraw()

    def action_move_page(self, by: int) -> None:
        """Move the view by what it shows, less one line."""
        self.action_move(by * max(1, self._room - 1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves it as the keys do."""
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves it as the keys do."""
        event.stop()
        self.action_move(-3)


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
    return tuple((sanitize(text).replace("\n", " "), ink) for text, ink in row if text)
