"""The rows of a recipe as they will be trained on, source by source, row by row."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer

from engine.problems import Problem, Refusal
from engine.recipe.schema import Recipe
from engine.sessions.preview import Answer, Broken, Reply
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.sessions.row_browser import RowBrowser
from workbench.text import format, token_marks
from workbench.text.sanitize import clean_line
from workbench.text.token_marks import TextStyle
from workbench.widgets.findings import Findings
from workbench.widgets.keyline import KeyLine
from workbench.widgets.lengths import Lengths
from workbench.widgets.panes import Panes
from workbench.widgets.problems import Problems
from workbench.widgets.rowhead import RowHead
from workbench.widgets.rowtext import RowText
from workbench.widgets.sourcetable import SourceTable
from workbench.widgets.titlebar import TitleBar
from workbench.widgets.toosmall import TooSmall

_POLL_S = 0.05
_PANES = ("row", "prompt", "sources")
_FOCUS = {"row": "#row", "prompt": "#prompt", "sources": "#findings"}
_TITLES = {
    "row": "trained on",
    "prompt": "prompt at inference",
    "findings": "what became of the rows",
    "lengths": "rows by tokens",
}
_FAR = 1_000_000_000


class PreviewScreen(Screen[None]):
    """Asks for rows ahead of the one that is shown, so that the next one is at hand."""

    CSS_PATH = "preview.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "row(1)", "Row", key_display="j/k", tooltip="The next row"),
        Binding("up,k", "row(-1)", "Row before", show=False, tooltip="The row before"),
        Binding("right,l", "source(1)", "Source", key_display="h/l", tooltip="The next source"),
        Binding("left,h", "source(-1)", "Source before", show=False, tooltip="The source before"),
        Binding("home", f"row(-{_FAR})", "First row", show=False, tooltip="Its first row"),
        Binding("end", f"row({_FAR})", "Last row", show=False, tooltip="Its last row"),
        Binding("space,pagedown", "page(1)", "Page", tooltip="More of a long row"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="Back in a long row"),
        *(
            Binding(str(number), f"pane({number - 1})", name, show=False, tooltip=f"Show {name}")
            for number, name in enumerate(_PANES, 1)
        ),
        Binding("escape", "leave", "Back", id="preview-leave", tooltip="Back to the setup"),
    ]

    def __init__(self, name: str, recipe: Recipe, warm: PrestartedPreview, ink: TextStyle) -> None:
        super().__init__()
        self._recipe_name, self._recipe = name, recipe
        self._warm = warm
        self._ink = ink
        self._browse = RowBrowser()
        self._listening: Timer | None = None

    def compose(self) -> ComposeResult:
        """All panes; the style sheet shows one of them where there is no room for more."""
        yield TooSmall()
        yield TitleBar("preview")
        yield Problems(id="standing")
        yield Panes(_PANES)
        yield SourceTable(id="sources")
        with Horizontal(id="about"):
            yield Findings(id="findings")
            yield Lengths(self._ink, id="lengths")
        yield RowHead(self._ink)
        with Horizontal(id="texts"):
            yield RowText(token_marks.training, self._ink, id="row")
            yield RowText(token_marks.prompt, self._ink, id="prompt")
        yield KeyLine()

    def on_mount(self) -> None:
        """Name the panes and ask for the first rows."""
        for id, title in _TITLES.items():
            self.query_one(f"#{id}").border_title = title
        self._listening = self.set_interval(_POLL_S, self._listen)
        self.action_pane(0)
        self._ask()
        self._show()

    def _ask(self) -> None:
        wanted = self._browse.wanted()
        if wanted is None or self._listening is None:
            return
        first, rows = wanted
        try:
            self._warm.ask(self._recipe, rows, first)
            self._listening.resume()
        except Refusal as refusal:
            self._say_why(refusal.problems)
        except OSError as error:
            fix = "See whether disk and memory are free"
            self._say_why([Problem("preview", "", str(error), fix)])

    def _listen(self) -> None:
        reply = self._warm.poll()
        if reply is not None:
            self._take(reply)
        if not self._warm.is_waiting and self._listening is not None:
            self._listening.pause()
        self._show_standing()

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Answer):
            self.set_class(True, "-answered")
            self._browse.take(reply)
            self._ask()
            with self.app.batch_update():
                self._show()
        elif isinstance(reply, Broken):
            log = f"Its log: {reply.log}" if reply.log else "It left no log"
            self._say_why(
                [Problem("preview", "", reply.error, f"{log}. escape, then p: try again")]
            )
        else:
            self._say_why(list(reply.problems))

    def _say_why(self, problems: list[Problem]) -> None:
        self.set_class(False, "-answered")
        count = format.amount(len(problems), "problem")
        self.query_one(Problems).show((f"{count}: there is nothing to show", "bad"), problems)

    def _show(self) -> None:
        browse = self._browse
        self.query_one(SourceTable).show(browse.sources, browse.at_source)
        self.query_one(Findings).show(browse.answer, browse.source)
        self.query_one(Lengths).show(browse.source)
        self.query_one(RowHead).show(browse)
        for text in self.query(RowText):
            text.show(browse.row)
        self._show_standing()

    def _show_standing(self) -> None:
        """The engine's phase, where somebody waits for it."""
        phase = clean_line(self._warm.phase) if self._warm.is_waiting else ""
        if phase and not self.has_class("-answered"):
            self.query_one(Problems).show((f"{phase} ...", "accent"))
        is_late = bool(phase) and self._browse.row is None
        self.query_one(TitleBar).show(self._recipe_name, (phase, "accent") if is_late else ("", ""))

    def action_row(self, by: int) -> None:
        """Another row of the source."""
        self._browse.move(by)
        self._ask()
        self._show()

    def action_source(self, by: int) -> None:
        """Another source, where one left off in it."""
        self._browse.turn(by)
        self._ask()
        self._show()

    def action_page(self, by: int) -> None:
        """Move through a long row and its prompt, which begin alike."""
        for text in self.query(RowText):
            text.action_move_page(by)

    def action_pane(self, index: int) -> None:
        """Show one pane where there is room for one only, else move to it."""
        for place, name in enumerate(_PANES):
            self.set_class(place == index, f"-{name}")
        self.query_one(Panes).choose(index)
        self.set_focus(self.query_one(_FOCUS[_PANES[index]]))

    def action_leave(self) -> None:
        """Back to the setup."""
        self.dismiss(None)
