"""Which rows of the user's own to train on: files nearby, or what is typed."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.recipe import nearby
from engine.recipe.rows_glance import Glance
from workbench.recipe_editor import draft, own_rows
from workbench.screens.dialogs import line_keys
from workbench.text import format, toml_text
from workbench.text.sanitize import sanitize_line
from workbench.widgets.choices import Choices
from workbench.widgets.frame import FocusKeeper
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput, PathInput
from workbench.widgets.quiet_keys import quiet_key

_KEY = "data.sources"


class RowsScreen(FocusKeeper[str], ModalScreen[str]):
    """A source as `--data` takes it; empty where the user wants none."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        quiet_key("list-up", "up", "move(-1)", "", "The file above"),
        quiet_key("list-down", "down", "move(1)", "", "The file below"),
    ]

    def compose(self) -> ComposeResult:
        """The question, what is typed, the files nearby, and the keys."""
        with Vertical(id="rows"):
            yield Static(Content.styled("Which rows to train on?", "bold"), markup=False)
            completes = key_name(self.app, PathInput, "path-complete")
            yield PathInput(placeholder=f"a file, a folder or owner/name; {completes} completes")
            yield Choices(id="nearby")
            yield Static("", markup=False, id="verdict")
            yield line_keys(self.app, "train on it", "cancel")

    def on_mount(self) -> None:
        """Type at once, while the files are looked at."""
        self._list.can_focus = False
        self._list.border_title = "files nearby"
        self.query_one(LineInput).focus()
        self._look()

    @property
    def _list(self) -> Choices:
        return self.query_one(Choices)

    @work(thread=True)
    def _look(self) -> None:
        self.call_later(self._offer, nearby.row_files())

    def _offer(self, files: list[tuple[str, Glance]]) -> None:
        """List them; what is typed meanwhile narrows them."""
        for path, glance in files:
            self._list.label(path, f"{sanitize_line(path)}   {_described(glance)}")
        self._list.offer([("", [path for path, _ in files])])
        self._list.display = bool(files)
        if not files:
            self._say("No file of rows is in this folder or in those within it: type a path")

    @property
    def _typed(self) -> str:
        return self.query_one(LineInput).value.strip()

    def _why_not(self, source: str) -> str:
        """Why a source can't be trained on; empty where it can."""
        edited = draft.read(own_rows.RECIPE, {})
        problems = edited.wrong(_KEY, toml_text.of_value([source])) if edited else []
        own = [problem for problem in problems if draft.is_of(problem, _KEY)]
        return f"{own[0].reason}. {own[0].fix}" if own else ""

    @on(LineInput.Changed)
    def _narrow(self, typed: LineInput.Changed) -> None:
        self._list.narrow(typed.value)
        self._say("")

    @on(PathInput.Completed)
    def _tell_paths(self, completed: PathInput.Completed) -> None:
        names = "  ".join(path.rstrip("/").rpartition("/")[2] for path in completed.paths[:8])
        self._say(names or "No path begins so")

    @on(LineInput.Submitted)
    def _take(self) -> None:
        """What is typed where it leads somewhere, else the file that is chosen by it."""
        sources = [source for source in (self._typed, self._list.visible_selected) if source]
        reasons = {source: self._why_not(source) for source in sources}
        source = next((source for source, reason in reasons.items() if not reason), "")
        if source:
            self.dismiss(source)
        else:
            reason = next(iter(reasons.values()), "Type a path, or owner/name on the hub")
            self._say(reason)

    @on(Choices.Entered)
    def _take_clicked(self) -> None:
        """Two clicks on a file take it, whatever is typed."""
        self.dismiss(self._list.selected)

    @on(Choices.Moved)
    def _say_nothing(self) -> None:
        self._say("")

    def on_click(self) -> None:
        """A click chooses; what is typed goes on."""
        self.query_one(LineInput).focus()

    @on(LineInput.Left)
    def _leave(self) -> None:
        self.dismiss("")

    def _say(self, verdict: str) -> None:
        self.query_one("#verdict", Static).update(Content(sanitize_line(verdict)))

    def action_move(self, by: int) -> None:
        """Another file."""
        self._list.action_move(by)


def _described(glance: Glance) -> str:
    """Rows, kind and columns, and how many lines are broken."""
    about = "" if glance.is_exact else "about "
    rows = "" if glance.num_rows is None else f"{about}{format.amount(glance.num_rows, 'row')}, "
    broken = len(glance.broken_lines)
    damage = f", {format.amount(broken, 'broken line')}" if broken else ""
    columns = f": {sanitize_line(', '.join(glance.columns))}" if glance.columns else ""
    return f"{rows}{glance.kind[1:]}{damage}{columns}"
