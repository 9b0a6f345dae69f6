"""Letters over the panes of the screen below; one of them moves the focus there."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label

LETTERS = "asdfghjkl"


class JumpScreen(ModalScreen[Widget | None]):
    """The pane whose letter was pressed; None where another key was."""

    CSS_PATH = "jump.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", tooltip="Stay where you are"),
    ]

    def __init__(self, panes: Sequence[Widget]) -> None:
        super().__init__()
        self._panes = dict(zip(LETTERS, panes, strict=False))

    def compose(self) -> ComposeResult:
        """A letter in the corner of each pane."""
        for letter, pane in self._panes.items():
            label = Label(f" {letter} ", markup=False)
            label.styles.offset = (pane.region.x, pane.region.y)
            yield label

    def on_key(self, event: events.Key) -> None:
        """Every key ends it."""
        event.stop()
        self.dismiss(self._panes.get(event.key))
