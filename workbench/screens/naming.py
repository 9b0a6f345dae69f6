"""Asks under which name a recipe is to be saved, and saves it."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.problems import Refusal
from workbench.recipe_editor import save
from workbench.recipe_editor.draft import Draft
from workbench.text.sanitize import clean_line
from workbench.widgets.lineinput import LineInput


class NamingScreen(ModalScreen[str]):
    """The recipe's new name as setup lists it; empty where the user wants none."""

    CSS_PATH = "naming.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, edited: Draft) -> None:
        super().__init__()
        self._draft = edited

    def compose(self) -> ComposeResult:
        """The question, the name, where it goes or why it can't, and the keys."""
        with Vertical(id="naming"):
            title = f"Save {clean_line(self._draft.name)} as a new recipe"
            yield Static(Content.styled(title, "bold"), markup=False)
            yield LineInput(placeholder="its name")
            yield Static("", markup=False, id="verdict")
            keys = (("enter", "$accent"), "  save      ", ("escape", "$accent"), "  cancel")
            yield Static(Content.assemble(*keys), markup=False)

    @on(LineInput.Changed)
    def _judge(self, typed: LineInput.Changed) -> None:
        name = typed.value.strip()
        told = save.why_not(name) or f"It becomes {name}.toml in this folder"
        self._say(told if name else "")

    def _say(self, told: str) -> None:
        self.query_one("#verdict", Static).update(Content(clean_line(told)))

    @on(LineInput.Submitted)
    def _save(self, typed: LineInput.Submitted) -> None:
        name = typed.value.strip()
        if not name:
            return
        try:
            self.dismiss(save.save(self._draft, name))
        except Refusal as refusal:
            problem = refusal.problems[0]
            self._say(f"{problem.reason}. {problem.fix}")

    @on(LineInput.Left)
    def _leave(self) -> None:
        self.dismiss("")
