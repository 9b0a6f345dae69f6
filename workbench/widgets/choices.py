"""A list of which one entry is chosen, by the arrow keys or a click."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from workbench.text.fuzzy import narrowed
from workbench.text.styled import Row, fit
from workbench.widgets.canvas import Canvas
from workbench.widgets.quiet_keys import moving_keys, quiet_key

Group = tuple[str, Sequence[str]]
"""A heading, which may be empty, and the names below it."""


class Choices(Canvas, can_focus=True):
    """Entries by name, each shown by its label, in groups."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *moving_keys(),
        quiet_key("list-take", "enter", "take", "Take", "Go on with this entry"),
    ]

    class Entered(Message):
        """What follows from the chosen entry is wanted: enter, or two clicks."""

        def __init__(self, id: str | None) -> None:
            super().__init__()
            self.id = id

    class Moved(Message):
        """Another entry was chosen."""

    def __init__(self, names: Sequence[str] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._groups: Sequence[Group] = [("", names)]
        self._labels: dict[str, str] = {}
        self._filter = ""
        self._selected = names[0] if names else ""
        self._top = 0

    @property
    def selected(self) -> str:
        """Name of the chosen entry; empty where there is none."""
        return self._selected

    @property
    def visible_selected(self) -> str:
        """The chosen entry where it is among those that are shown, else nothing."""
        return self._selected if self._selected in self._shown() else ""

    @property
    def selected_row(self) -> int:
        """Where the chosen entry stands in what is in view."""
        return self._at() - self._top

    def label(self, name: str, label: str) -> None:
        """Show an entry by another label."""
        self._labels[name] = label
        self.redraw()

    def offer(self, groups: Sequence[Group]) -> None:
        """Show these instead; what is chosen stays chosen while it is there."""
        self._groups = groups
        self.choose(self._selected)
        self.redraw()

    def narrow(self, text: str) -> None:
        """Show only names that the words find; the first of them where the chosen one isn't one."""
        self._filter = text.strip()
        self.choose(self._selected)
        self.redraw()

    def choose(self, name: str) -> None:
        """Choose an entry, or the first where it isn't shown; none shown leaves all as it is."""
        shown = self._shown()
        selected = name if name in shown else shown[0] if shown else self._selected
        if selected != self._selected:
            self._selected = selected
            self.redraw()
            self.moved()

    def moved(self) -> None:
        """What happens when another entry is chosen."""
        self.post_message(self.Moved())

    def num_rows(self, width: int) -> int:
        """A row per line."""
        return max(1, len(self._lines()))

    def _shown(self) -> list[str]:
        return [name for name, _ in self._lines() if name]

    def _lines(self) -> list[tuple[str, str]]:
        """Name and text of every line; headings and remarks have no name."""
        lines: list[tuple[str, str]] = []
        every = [name for _, names in self._groups for name in names]
        shown = {*narrowed(every, self._filter, str)} if self._filter else {*every}
        for heading, names in self._groups:
            matches = [name for name in names if name in shown]
            lines += [("", heading)] if heading and matches else []
            lines += [(name, self._labels.get(name, name)) for name in matches]
        return lines if lines or not self._filter else [("", "no name is like that")]

    def _at(self) -> int:
        return next((at for at, line in enumerate(self._lines()) if line[0] == self._selected), 0)

    def drawn(self, width: int, height: int) -> list[Row]:
        """The lines in view; the chosen one is always among them, and the one above it."""
        at, lines = self._at(), self._lines()
        self._top = max(at - height + 1, min(self._top, max(0, at - 1)))
        ink = "chosen" if self.has_focus else "kept"
        return [
            self.entry(name, text, width, ink if name and name == self._selected else "")
            for name, text in lines[self._top : self._top + height]
        ]

    def entry(self, name: str, text: str, width: int, ink: str) -> Row:
        """One line, in the ink of the chosen one where it is that; a heading has no name."""
        return [(fit(text, width), ink or ("" if name else "dim"))]

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether the keys go here."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def on_click(self, click: events.Click) -> None:
        """Choose the entry under the pointer."""
        lines, at = self._lines(), self._top + click.get_content_offset_capture(self).y
        if at < len(lines) and lines[at][0]:
            self.choose(lines[at][0])
            if click.chain == 2:
                self.action_take()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel chooses as the keys do."""
        event.stop()
        self.action_move(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel chooses as the keys do."""
        event.stop()
        self.action_move(-1)

    def action_take(self) -> None:
        """Tell that the chosen entry is taken."""
        self.post_message(self.Entered(self.id))

    def action_move(self, by: int) -> None:
        """Choose an entry further on."""
        shown = self._shown()
        if shown:
            at = shown.index(self._selected) if self._selected in shown else 0
            self.choose(shown[max(0, min(len(shown) - 1, at + by))])

    def action_move_page(self, by: int) -> None:
        """Choose an entry as far on as there is room."""
        self.action_move(by * max(1, self.content_size.height - 1))
