"""A question before what can't be undone."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class ConfirmScreen(ModalScreen[bool]):
    """True where the user agreed; escape always declines."""

    CSS_PATH = "confirm.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "agree", "Yes", id="confirm-agree", tooltip="Do it"),
        Binding("escape,n", "decline", "No", id="confirm-decline", tooltip="Leave it as it is"),
    ]

    def __init__(self, question: str, detail: str, agree: str, decline: str) -> None:
        super().__init__()
        self._texts = (question, detail)
        self._choices = (agree, decline)

    def compose(self) -> ComposeResult:
        """Question, what it means, and the two keys."""
        question, detail = self._texts
        agree, decline = self._choices
        with Vertical(id="question"):
            yield Static(Content.styled(question, "bold"), markup=False)
            yield Static(Content(detail), markup=False)
            keys = Content.assemble(
                ("enter", "$accent"), f"  {agree}      ", ("escape", "$accent"), f"  {decline}"
            )
            yield Static(keys, markup=False, id="answers")

    def action_agree(self) -> None:
        """Close with yes."""
        self.dismiss(True)

    def action_decline(self) -> None:
        """Close with no."""
        self.dismiss(False)
