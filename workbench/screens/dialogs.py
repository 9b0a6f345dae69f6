"""Small screens that lie over another: a question, a recipe's new name, letters to jump by."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Label, Static

from engine.problems import Refusal
from workbench.recipe_editor import user_recipes
from workbench.recipe_editor.draft import Draft
from workbench.text.sanitize import sanitize, sanitize_line
from workbench.text.styled import Row, wrapped
from workbench.widgets.canvas import Pager
from workbench.widgets.frame import FocusKeeper
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput
from workbench.widgets.quiet_keys import moving_keys

JUMP_LETTERS = "asdfghjkl"


def ask(
    app: App[Any], question: str, detail: str, choices: tuple[str, str], then: Callable[[], Any]
) -> None:
    """Ask before what can't be undone; then do it, where the user agrees."""
    screen = ConfirmScreen(question, detail, *choices)
    app.push_screen(screen, lambda is_agreed: is_agreed and then())


def keys(app: App[Any], place: type[DOMNode], *uses: tuple[str, str]) -> Static:
    """The keys of a dialog by the ids of their bindings, and what they do."""
    spans = [((key_name(app, place, id), "$accent"), f"  {does}") for id, does in uses]
    parts = [part for key, does in spans for part in ("      ", key, does)]
    return Static(Content.assemble(*parts[1:]), markup=False, id="answers")


def line_keys(app: App[Any], take: str, leave: str) -> Static:
    """Those of a line that is typed."""
    return keys(app, LineInput, ("line-take", take), ("line-leave", leave))


class ConfirmScreen(ModalScreen[bool]):
    """True where the user agreed; escape always declines."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "dismiss(True)", "Yes", id="confirm-agree", tooltip="Do it"),
        Binding(
            "escape,n", "dismiss(False)", "No", id="confirm-decline", tooltip="Leave it as it is"
        ),
    ]

    def __init__(self, question: str, detail: str, agree: str, decline: str) -> None:
        super().__init__()
        self._texts = (question, detail)
        self._choices = (agree, decline)

    def compose(self) -> ComposeResult:
        """Question, what it means, and the two keys."""
        question, detail = self._texts
        with Vertical(id="question"):
            yield Static(Content.styled(question, "bold"), markup=False)
            yield Static(Content(detail), markup=False)
            agree, decline = self._choices
            uses = ("confirm-agree", agree), ("confirm-decline", decline)
            yield keys(self.app, type(self), *uses)


class NoticeScreen(FocusKeeper[None], ModalScreen[None]):
    """What is wrong with something that the app does without, to be read and left."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,escape,q", "dismiss", "Go on", id="notice-leave", tooltip="Go on without"),
        *moving_keys("pagedown,space"),
    ]

    def __init__(self, title: str, notices: Sequence[str]) -> None:
        super().__init__()
        self._title, self._notices = title, notices

    def compose(self) -> ComposeResult:
        """The notices, and how to go on."""
        with Vertical(id="notice"):
            yield Static(Content.styled(self._title, "bold"), markup=False)
            yield Pager(id="notices")
            yield keys(self.app, type(self), ("notice-leave", "go on"))

    def on_mount(self) -> None:
        """The screen's keys move them, where they are many."""
        self.query_one(Pager).can_focus = False
        self.query_one(Pager).show_lines(self._rows)

    def action_move(self, by: int) -> None:
        """Further up or down."""
        self.query_one(Pager).action_move(by)

    def action_move_page(self, by: int) -> None:
        """A page further."""
        self.query_one(Pager).action_move_page(by)

    def _rows(self, width: int) -> list[Row]:
        return [row for notice in self._notices for row in (*wrapped(notice, "", width), [])]


class UseItScreen(FocusKeeper[None], ModalScreen[None]):
    """What to do with an adapter: lines to read, and a program to copy."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,c", "copy", "Copy", id="use-copy", tooltip="Copy the program in Python"),
        Binding("escape,q", "dismiss", "Back", id="use-leave", tooltip="Back to the run"),
    ]

    def __init__(self, lines: Sequence[str], program: str) -> None:
        super().__init__()
        self._lines, self._program = lines, program

    def compose(self) -> ComposeResult:
        """The lines, and the two keys."""
        with Vertical(id="notice"):
            yield Pager(id="notices")
            uses = ("use-copy", "copy the program"), ("use-leave", "back")
            yield keys(self.app, type(self), *uses)

    def on_mount(self) -> None:
        """Keys move the lines, where they are many."""
        pager = self.query_one(Pager)
        pager.show_lines(
            lambda width: [
                row for line in self._lines for row in wrapped(sanitize(line), "", width)
            ]
        )
        pager.focus()

    def action_copy(self) -> None:
        """Into the clipboard of a terminal that takes it."""
        self.app.copy_to_clipboard(self._program)
        self.notify("The program in Python", title="Copied", markup=False)


class NamingScreen(FocusKeeper[str], ModalScreen[str]):
    """Saves a recipe; its new name as setup lists it, empty where the user wants none."""

    CSS_PATH = "dialogs.tcss"

    def __init__(self, edited: Draft) -> None:
        super().__init__()
        self._draft = edited

    def compose(self) -> ComposeResult:
        """The question, the name, where it goes or why it can't, and the keys."""
        with Vertical(id="naming"):
            title = f"Save {sanitize_line(self._draft.name)} as a new recipe"
            yield Static(Content.styled(title, "bold"), markup=False)
            yield LineInput(placeholder="its name")
            yield Static("", markup=False, id="verdict")
            yield line_keys(self.app, "save", "cancel")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(LineInput).focus()

    @on(LineInput.Changed)
    def _judge(self, typed: LineInput.Changed) -> None:
        name = typed.value.strip()
        verdict = user_recipes.name_problem(name) or f"It becomes {name}.toml in this folder"
        self._say(verdict if name else "")

    def _say(self, verdict: str) -> None:
        self.query_one("#verdict", Static).update(Content(sanitize_line(verdict)))

    @on(LineInput.Submitted)
    def _save(self, typed: LineInput.Submitted) -> None:
        name = typed.value.strip()
        if not name:
            return
        try:
            self.dismiss(user_recipes.save(self._draft, name))
        except Refusal as refusal:
            problem = refusal.problems[0]
            self._say(f"{problem.reason}. {problem.fix}")

    @on(LineInput.Left)
    def _leave(self) -> None:
        self.dismiss("")


class JumpScreen(ModalScreen[Widget | None]):
    """A letter over each pane: the one whose letter is pressed; None where another key is."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back", id="jump-leave", tooltip="Stay where you are"),
    ]

    def __init__(self, panes: Sequence[Widget]) -> None:
        super().__init__()
        self._panes = dict(zip(JUMP_LETTERS, panes, strict=False))

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
