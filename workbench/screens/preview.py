"""The rows of a recipe as they will be trained on, source by source, row by row."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from engine.problems import Problem, Refusal
from engine.recipe.schema import Recipe
from engine.sessions.preview import Answer, Broken, Reply
from engine.sessions.preview import Row as DataRow
from workbench.screens.bench_screen import BenchScreen, pane_keys
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.sessions.row_browser import RowBrowser, num_rows
from workbench.text import format, preview_page, token_marks
from workbench.text.layouts import problem_rows
from workbench.text.sanitize import sanitize_line
from workbench.text.styled import Row, Span, fit
from workbench.text.token_marks import TextStyle
from workbench.widgets.canvas import Drawing, Pager
from workbench.widgets.key_names import key_name
from workbench.widgets.quiet_keys import quiet_key

_POLL_S = 0.05
_FAR = 1_000_000_000


def _shown(id: str, keys: str, action: str, name: str, does: str) -> Binding:
    return Binding(keys, action, name, id=f"preview-{id}", tooltip=does)


class RowText(Pager, inherit_bindings=False):
    """One side of a row, laid out once for each width; the screen moves it with its other side."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        mark: Callable[[DataRow, int, TextStyle], list[list[Span]]],
        style: TextStyle,
        *,
        id: str,
    ) -> None:
        super().__init__(id=id)
        self._mark, self._style = mark, style
        self._row: DataRow | None = None

    def show(self, row: DataRow | None) -> None:
        """Show this row instead, from its beginning."""
        if row is not self._row:
            self._row, self._top = row, 0
            self.show_lines(lru_cache(maxsize=1)(self._lines))

    def _lines(self, width: int) -> list[Row]:
        return [*self._mark(self._row, width, self._style)] if self._row and width else []

    def drawn(self, width: int, height: int) -> list[Row]:
        """The lines in view; where there are more, the last one says so."""
        rows = super().drawn(width, height)
        more = self._num_lines - self._top - len(rows)
        return [*rows[:-1], [(f"{more + 1} lines more", "dim")]] if more > 0 else rows


class PreviewScreen(BenchScreen):
    """Asks for rows ahead of the one that is shown, so that the next one is at hand."""

    NAME = "preview"
    PANES: ClassVar = {"row": "#row", "prompt": "#prompt", "sources": "#findings"}
    PANE_TITLES: ClassVar = {
        "row": "trained on",
        "prompt": "prompt at inference",
        "findings": "what became of the rows",
        "lengths": "rows by tokens",
    }
    CSS_PATH = "preview.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        _shown("next-row", "down,j,enter", "row(1)", "Row", "The next row"),
        quiet_key("preview-row-before", "up,k", "row(-1)", "Row before", "The row before"),
        _shown("next-source", "right,l", "source(1)", "Source", "The next source"),
        quiet_key("preview-source-before", "left,h", "source(-1)", "", "The source before"),
        quiet_key("preview-first-row", "home", f"row(-{_FAR})", "First row", "Its first row"),
        quiet_key("preview-last-row", "end", f"row({_FAR})", "Last row", "Its last row"),
        _shown("page", "space,pagedown", "page(1)", "Page", "More of a long row"),
        quiet_key("preview-page-up", "pageup", "page(-1)", "Page up", "Back in a long row"),
        *pane_keys(PANES),
        Binding("escape", "leave", "Back", id="preview-leave", tooltip="Back to the setup"),
    ]

    def __init__(
        self, name: str, recipe: Recipe, preview: PrestartedPreview, style: TextStyle
    ) -> None:
        super().__init__()
        self._recipe_name, self._recipe = name, recipe
        self._preview = preview
        self._style = style
        self._browse = RowBrowser()
        self._listening: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """What it waits for or why there is nothing, then sources, and a row from two sides."""
        yield Pager(id="standing")
        yield Drawing(id="panes")
        yield Drawing(id="sources")
        with Horizontal(id="about"):
            yield Pager(id="findings")
            yield Drawing(id="lengths")
        yield Drawing(id="head")
        with Horizontal(id="texts"):
            yield RowText(token_marks.training, self._style, id="row")
            yield RowText(token_marks.prompt, self._style, id="prompt")

    def on_mount(self) -> None:
        """Ask for the first rows."""
        self._listening = self.set_interval(_POLL_S, self._listen)
        self._ask()
        self._show()

    def _ask(self) -> None:
        request = self._browse.next_request()
        if request is None or self._listening is None:
            return
        first, rows = request
        try:
            self._preview.ask(self._recipe, rows, first)
            self._listening.resume()
        except Refusal as refusal:
            self._say_why(refusal.problems)
        except OSError as error:
            fix = "See whether disk and memory are free"
            self._say_why([Problem("preview", "", str(error), fix)])

    def _listen(self) -> None:
        reply = self._preview.poll()
        if reply is not None:
            self._take(reply)
        if not self._preview.is_waiting and self._listening is not None:
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
            leave = key_name(self.app, type(self), "preview-leave")
            fix = f"{log}. Leave with {leave} and open it again"
            self._say_why([Problem("preview", "", reply.error, fix)])
        else:
            self._say_why(list(reply.problems))

    def _say_why(self, problems: list[Problem]) -> None:
        self.set_class(False, "-answered")
        count = format.amount(len(problems), "problem")
        self._stand((f"{count}: there is nothing to show", "bad"), problems)

    def _stand(self, verdict: Span, problems: Sequence[Problem] = ()) -> None:
        lay_out = partial(problem_rows, verdict, problems)
        self.query_one("#standing", Pager).show_lines(lay_out)

    def _show(self) -> None:
        browse, style = self._browse, self._style
        self.query_one("#sources", Drawing).show(
            lambda width, height: _sources(browse, width, height)
        )
        self.query_one("#findings", Pager).show_lines(partial(_findings, browse))
        self.query_one("#lengths", Drawing).show(
            lambda width, _: preview_page.length_rows(browse.source, width, style)
        )
        self.query_one("#head", Drawing).show(lambda width, _: _head(browse, width, style))
        for text in self.query(RowText):
            text.show(browse.row)
        self._show_standing()

    def _show_standing(self) -> None:
        """The engine's phase, where somebody waits for it."""
        phase = sanitize_line(self._preview.phase) if self._preview.is_waiting else ""
        if phase and not self.has_class("-answered"):
            self._stand((f"{phase} ...", "accent"))
        is_late = bool(phase) and self._browse.row is None
        self.set_subject(self._recipe_name, (phase, "accent") if is_late else ("", ""))

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


def _sources(browse: RowBrowser, width: int, height: int) -> list[Row]:
    """The sources around the chosen one."""
    head, *rows = preview_page.source_rows(browse.sources, browse.at_source, width)
    return [head, *rows[max(0, browse.at_source + 2 - height) :]]


def _findings(browse: RowBrowser, width: int) -> list[Row]:
    if browse.answer is None or browse.source is None:
        return []
    rows = preview_page.finding_rows(browse.source, width)
    return [*rows, [], *preview_page.template_rows(browse.answer, width)]


def _head(browse: RowBrowser, width: int, style: TextStyle) -> list[Row]:
    """Place, origin and figures of the row; the last line says what the marks mean."""
    source, row = browse.source, browse.row
    if source is None:
        return []
    total = num_rows(source)
    if not total:
        return [[(fit(f"{sanitize_line(source.name)}: none of its rows is taken", width), "bad")]]
    place = f"row {format.count(browse.place + 1)} of {format.count(total)}"
    if row is None:
        return [[(place, "strong"), ("  on its way", "dim")]]
    return [*preview_page.head_rows(row, place, width), style.legend]
