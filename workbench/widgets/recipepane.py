"""The recipes: those of the project, then the user's own; what is typed narrows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from workbench.widgets.choices import Choices

if TYPE_CHECKING:
    from textual.widgets import Input

    from workbench.widgets.lineinput import LineInput

_HEADINGS = ("of the project", "of this folder")


class RecipePane(Vertical):
    """The list, and under it the line of the filter while there is one."""

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names = names

    def compose(self) -> ComposeResult:
        """The list."""
        yield Choices(self._names, id="recipe")

    def on_mount(self) -> None:
        """Name it, and the key that nobody would guess."""
        found = self.query_one(Choices)
        found.border_title, found.border_subtitle = "recipe", "/ filters"

    def show_own(self, names: Sequence[str]) -> None:
        """List the user's own recipes too."""
        own = [name for name in names if name not in self._names]
        groups = [(_HEADINGS[0], self._names), (_HEADINGS[1], own)] if own else [("", self._names)]
        self.query_one(Choices).offer(groups)

    async def filter(self) -> None:
        """Let the user type what the names are to contain."""
        from workbench.widgets.lineinput import LineInput

        if not self.query(LineInput):
            await self.mount(LineInput(placeholder="part of a name", id="filter"))
        self.query_one(LineInput).focus()

    def on_input_changed(self, typed: Input.Changed) -> None:
        """Narrow the list at every key."""
        typed.stop()
        self.query_one(Choices).narrow(typed.value)

    def on_input_submitted(self, typed: Input.Submitted) -> None:
        """Enough is typed: the keys go to the list."""
        typed.stop()
        self.query_one(Choices).focus()

    def on_line_input_left(self, left: LineInput.Left) -> None:
        """All recipes again."""
        left.stop()
        self.clear_filter()

    def clear_filter(self) -> None:
        """All recipes again."""
        for line in self.query("#filter"):
            line.remove()
            self.query_one(Choices).narrow("")
            self.query_one(Choices).focus()
