"""Asks under which name a recipe is to be saved."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench import saved_recipe
from workbench.widgets.lineinput import LineInput


class NamingScreen(ModalScreen[str]):
    """A name that is safe and free; empty where the user wants none."""

    CSS_PATH = "naming.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []

    def compose(self) -> ComposeResult:
        """The question, the name, and why it can't be taken or where it goes."""
        with Vertical(id="naming"):
            yield Static(Content.styled("Save as a new recipe", "bold"), markup=False)
            yield LineInput(placeholder="its name")
            yield Static("", markup=False, id="verdict")
            yield Static(
                Content.assemble(("enter", "$accent"), "  save      ", ("escape", "$accent"), "  no"),
                markup=False,
            )

    @on(LineInput.Changed)
    def _judge(self, typed: LineInput.Changed) -> None:
        name = typed.value.strip()
        told = saved_recipe.why_not(name) or f"It becomes {name}.toml in this folder"
        self.query_one("#verdict", Static).update(Content(told if name else ""))

    @on(LineInput.Submitted)
    def _take(self, typed: LineInput.Submitted) -> None:
        name = typed.value.strip()
        if not saved_recipe.why_not(name):
            self.dismiss(name)

    @on(LineInput.Left)
    def _leave(self) -> None:
        self.dismiss("")
