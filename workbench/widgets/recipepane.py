"""The recipes, the project's and the user's own, with what is changed of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message

from engine.recipe import files
from workbench.widgets.choices import Choices, Group
from workbench.widgets.frame import DisabledActions
from workbench.widgets.key_names import key_name
from workbench.widgets.quiet_keys import quiet_key

if TYPE_CHECKING:
    from textual.widgets import Input

    from workbench.recipe_editor.draft import Changes
    from workbench.widgets.lineinput import LineInput

_FIRST, _OF_FOLDER = "to begin with", "of this folder"


class RecipePane(DisabledActions, Vertical):
    """The list, and under it what it is filtered by. Changes stay while other recipes are seen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        quiet_key("recipes-all", "escape", "clear", "", "All recipes again"),
        quiet_key("list-up", "up", "move(-1)", "", "The recipe above"),
        quiet_key("list-down", "down", "move(1)", "", "The recipe below"),
    ]

    class Selected(Message):
        """Another recipe was chosen."""

    def __init__(self, names: Sequence[str], sources: Sequence[str] = ()) -> None:
        super().__init__()
        self._names = names
        self._sources = sources
        self._own: Sequence[str] = ()
        self._changes: dict[str, Changes] = {}

    def compose(self) -> ComposeResult:
        """The list."""
        yield Choices(self._names, id="recipe")

    def on_mount(self) -> None:
        """Name it, and the key that nobody would guess."""
        self._list.offer(self._groups())
        key = key_name(self.app, type(self.screen), "setup-filter")
        self._list.border_title, self._list.border_subtitle = "recipe", f"{key} filters"

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done now."""
        is_whole = not any(line.display for line in self.query("LineInput"))
        return "All recipes are shown" if action == "clear" and is_whole else ""

    @property
    def _list(self) -> Choices:
        return self.query_one(Choices)

    @property
    def selected(self) -> str:
        """Name of the chosen recipe; empty where there is none."""
        return self._list.selected

    @property
    def changes(self) -> Changes:
        """What is changed of it; to begin with, that it trains on the sources that were named."""
        if self._sources and self.selected not in self._changes:
            from workbench.recipe_editor import own_rows

            self._changes[self.selected] = own_rows.changes(self._sources, self.selected)
        return self._changes.get(self.selected, {})

    def change(self, name: str, changes: Changes) -> None:
        """Remember what is changed of a recipe, and mark it."""
        self._changes[name] = changes
        self._list.label(name, f"{name}{', changed' if changes else ''}")

    def train_on(self, sources: Sequence[str]) -> None:
        """Let every recipe train on these rows; what else is changed of one stays."""
        from workbench.recipe_editor import own_rows

        self._sources, rows = sources, own_rows.changes(sources)
        for name in {*self._changes, self.selected}:
            with_settings = own_rows.changes(sources, name)
            self.change(name, {**with_settings, **self._changes.get(name, {}), **rows})

    def show_own(self, names: Sequence[str]) -> None:
        """List the user's own recipes too."""
        self._own = [name for name in names if name not in self._names]
        self._list.offer(self._groups())

    def _groups(self) -> list[Group]:
        """The user's own before the many of each Gemma; one group alone needs no heading."""
        families: dict[str, list[str]] = {}
        for name in self._names:
            families.setdefault(files.family(name), []).append(name)
        first = families.pop("", [])
        groups = [(_FIRST, first), (_OF_FOLDER, self._own), *families.items()]
        filled = [group for group in groups if group[1]]
        return filled if len(filled) > 1 or self._own else [("", self._names)]

    def adopt(self, name: str) -> None:
        """Choose a recipe that the changes of the chosen one were saved as."""
        self.change(self.selected, {})
        self.change(name, {})
        self.action_clear()
        self.show_own([*self._own, name])
        self._list.choose(name)

    def on_choices_moved(self, moved: Choices.Moved) -> None:
        """Told anew: a message of a child ends here where this pane made the child send it."""
        moved.stop()
        self.post_message(self.Selected())

    async def filter(self) -> None:
        """Let the user type what the names are to contain."""
        from workbench.widgets.lineinput import LineInput

        if not self.query(LineInput):
            await self.mount(LineInput(placeholder="part of a name"))
        line = self.query_one(LineInput)
        line.display = True
        line.focus()

    def on_input_changed(self, typed: Input.Changed) -> None:
        """Narrow the list at every key."""
        typed.stop()
        self._list.narrow(typed.value)

    def on_input_submitted(self, typed: Input.Submitted) -> None:
        """Enough is typed: the keys go to the list."""
        typed.stop()
        self._list.focus()

    def on_line_input_left(self, left: LineInput.Left) -> None:
        """Nothing is to be left out."""
        left.stop()
        self.action_clear()
        self._list.focus()

    def action_clear(self) -> None:
        """All recipes again."""
        line: Input
        for line in self.query("LineInput").results():  # type: ignore[assignment]
            line.value, line.display = "", False
        self._list.narrow("")

    def action_move(self, by: int) -> None:
        """Go through what is found while it is typed."""
        self._list.action_move(by)
