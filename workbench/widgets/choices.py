"""A list of which one entry is chosen, by the arrow keys or a click."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import fit

_FAR = 1_000_000


class Choices(Canvas, can_focus=True):
    """Entries by name, each shown by its label."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="The entry above"),
        Binding("down,j", "move(1)", "Down", show=False, tooltip="The entry below"),
        Binding("home", f"move(-{_FAR})", "First", show=False, tooltip="The first entry"),
        Binding("end", f"move({_FAR})", "Last", show=False, tooltip="The last entry"),
    ]

    class Moved(Message):
        """Another entry was chosen."""

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names = names
        self._labels = dict(zip(names, names, strict=True))
        self._at = 0
        self._top = 0

    @property
    def chosen(self) -> str:
        """Name of the chosen entry; empty where there is none."""
        return self._names[self._at] if self._names else ""

    def label(self, name: str, label: str) -> None:
        """Show an entry by another label."""
        self._labels[name] = label
        self.redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """A row per entry, where the style sheet leaves the height to it."""
        return max(1, len(self._names))

    def drawn(self, width: int, height: int) -> list[Row]:
        """The entries in view; the chosen one is always among them."""
        self._top = max(self._at - height + 1, min(self._top, self._at))
        ink = "chosen" if self.has_focus else "kept"
        rows: list[Row] = [
            [(fit(self._labels[name], width), ink if index == self._at else "")]
            for index, name in enumerate(self._names)
        ]
        return rows[self._top : self._top + height]

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether the keys go here."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def on_click(self, click: events.Click) -> None:
        """Choose the entry under the pointer."""
        at = self._top + click.get_content_offset_capture(self).y
        if at < len(self._names):
            self.action_move(at - self._at)

    def action_move(self, by: int) -> None:
        """Choose an entry further on."""
        at = max(0, min(len(self._names) - 1, self._at + by))
        if at != self._at:
            self._at = at
            self.redraw()
            self.post_message(self.Moved())
