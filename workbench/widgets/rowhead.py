"""Which row of a preview is shown: its place, origin, length, and how it compares to the prompt."""

from engine.sessions.preview import Row
from workbench.sessions.row_browser import RowBrowser, num_rows
from workbench.text.format import amount, count
from workbench.text.preview_page import verdict
from workbench.text.sanitize import clean_line
from workbench.text.token_marks import TextStyle
from workbench.widgets import canvas
from workbench.widgets.wrap import fit, fit_end


class RowHead(canvas.Canvas):
    """Three rows; the last says what the marks mean."""

    def __init__(self, ink: TextStyle, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ink = ink
        self._browse = RowBrowser()

    def show(self, browse: RowBrowser) -> None:
        """Show where this stands."""
        self._browse = browse
        self.redraw()

    def drawn(self, width: int, height: int) -> list[canvas.Row]:
        """Place and origin, figures, marks."""
        source, row = self._browse.source, self._browse.row
        if source is None:
            return []
        total = num_rows(source)
        if not total:
            return [[(fit(f"{clean_line(source.name)}: none of its rows is taken", width), "bad")]]
        place = f"row {count(self._browse.place + 1)} of {count(total)}"
        if row is None:
            return [[(place, "strong"), ("  on its way", "dim")]]
        origin = fit_end(f"{clean_line(row.file)}:{row.line}", width - len(place) - 2)
        return [
            [(place, "strong"), (f"  {origin}", "")],
            _figures(row),
            _legend(self._ink),
        ]


def _figures(row: Row) -> canvas.Row:
    cut = f", cut from {count(row.whole_tokens)}" if row.truncated else ""
    figures = f"{amount(len(row.input_ids), 'token')}{cut}, {count(row.supervised)} with loss"
    if not row.prompt:
        return [(figures, ""), (f"   {verdict(row)}", "warn" if row.prompt_error else "dim")]
    is_prefix = row.is_prompt_a_prefix
    answer = ("yes", "good") if is_prefix else ("no", "warn")
    return [(figures, ""), ("   prompt is a prefix: ", "dim"), answer]


def _legend(ink: TextStyle) -> list[canvas.Span]:
    loss, other = ("", ""), ("", "")
    if not ink.has_colour:
        loss, other = ink.loss, ink.difference
    return [
        (f"{loss[0]}carries loss{loss[1]}", "loss"),
        ("  ", ""),
        ("control token", "control"),
        ("  ", ""),
        (f"{other[0]}the other side differs{other[1]}", "other"),
    ]
