"""A canvas with more rows than it shows, moved by keys or the wheel."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from workbench.widgets.canvas import Canvas, Row


class Pager(Canvas, can_focus=True):
    """Shows a part of its `lines`. One that follows stays at the end until moved away from it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="One line up"),
        Binding("down,j", "move(1)", "Down", show=False, tooltip="One line down"),
        Binding("pageup", "move_page(-1)", "Page up", show=False),
        Binding("pagedown,space", "move_page(1)", "Page down", show=False),
        Binding("home", "move(-1000000)", "To the top", show=False),
        Binding("end", "move(1000000)", "To the end", show=False),
    ]
    follows: ClassVar[bool] = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._top = 0
        self._num_lines = self._room = 0
        self._is_at_end = self.follows

    def lines(self, width: int) -> list[Row]:
        """All rows for a width."""
        raise NotImplementedError

    def head(self, width: int) -> list[Row]:
        """Rows that stay above those that move."""
        return []

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
        self._is_at_end = self.follows and self._top == last_top
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
