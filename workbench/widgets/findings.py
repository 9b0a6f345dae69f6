"""What became of a source's rows, and how the template differs from the model's own."""

from collections.abc import Mapping

from engine.sessions.preview import Answer
from engine.sessions.source_report import SourceReport
from workbench.text.format import count
from workbench.text.sanitize import clean, clean_line
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import wrap

_DIFFERENCE = "the template trained on (+) writes otherwise than the model's own (-):"
_LINE_INKS = {"+": "loss", "-": "bad", "@": "dim"}


class Findings(Pager):
    """Rows by reason with the place of the first, then the template."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._answer: Answer | None = None
        self._source: SourceReport | None = None

    def show(self, answer: Answer | None, source: SourceReport | None) -> None:
        """Show what was found of a source."""
        if source is not self._source or answer is not self._answer:
            self._answer, self._source = answer, source
            self.redraw()

    def lines(self, width: int) -> list[Row]:
        """Dropped, noted, template."""
        if self._answer is None or self._source is None:
            return []
        source = self._source
        rows = _reasons("dropped", "warn", source.dropped, source.first_dropped, width)
        rows += _reasons("noted", "accent", source.noted, source.first_noted, width)
        rows = rows or [[("no row was dropped", "good")]]
        rows += [[], [("template ", "dim"), (self._answer.template_sha256[:16], "")]]
        return rows + _difference(self._answer.template_difference, width)


def _reasons(
    word: str, ink: str, counts: Mapping[str, int], firsts: Mapping[str, str], width: int
) -> list[Row]:
    rows: list[Row] = []
    for reason, number in counts.items():
        told = wrap(f"{count(number)} x {clean_line(reason)}", width - len(word) - 1)
        rows.append([(f"{word} ", ink), (told[0], "")])
        rows += [[(f"  {line}", "")] for line in told[1:]]
        first = wrap(f"first: {clean_line(firsts.get(reason, ''))}", width - 2)
        rows += [[(f"  {line}", "dim")] for line in first]
    return rows


def _difference(difference: str, width: int) -> list[Row]:
    if not difference:
        return []
    rows: list[Row] = [[(line, "warn")] for line in wrap(_DIFFERENCE, width)]
    for line in clean(difference).split("\n"):
        ink = _LINE_INKS.get(line[:1], "")
        rows += [[(part, ink)] for part in wrap(line, width)]
    return rows
