"""A table with a column per run, each named by a letter in the run's ink."""

from collections.abc import Sequence
from itertools import zip_longest

from workbench.run_view.comparison import LETTERS, Line
from workbench.widgets.canvas import Row, Span
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import fit, wrap

_GAP = 2
_MAX_NAMES = 34
_MIN_COLUMN = 12


class SideTable(Pager):
    """Lines of a name and a text per run, under headings; long texts take more rows."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: Sequence[tuple[str, Sequence[Line]]] = ()

    def show(self, parts: Sequence[tuple[str, Sequence[Line]]]) -> None:
        """Show these lines instead, part by part."""
        if parts != self._parts:
            self._parts = parts
            self.redraw()

    def lines(self, width: int) -> list[Row]:
        """Headings and their lines."""
        rows: list[Row] = []
        for heading, lines in self._parts:
            rows += [[(heading, "dim")]] if not lines else self._part(heading, lines, width)
        return rows

    def _part(self, heading: str, lines: Sequence[Line], width: int) -> list[Row]:
        count = len(lines[0][1])
        longest = max(len(heading), *(len(name) for name, _ in lines))
        names = max(8, min(longest, _MAX_NAMES, width - count * (_MIN_COLUMN + _GAP)))
        column = max(4, (width - names) // count - _GAP)
        gap: Span = (" " * _GAP, "")
        head: list[Span] = [(fit(heading, names), "dim")]
        for letter in LETTERS[:count]:
            head += [gap, (fit(letter, column), f"run {letter}")]
        rows: list[Row] = [head]
        for name, texts in lines:
            stacks = [wrap(name, names), *(wrap(text, column) for text in texts)]
            for stack in zip_longest(*stacks, fillvalue=""):
                first, *others = stack
                row: list[Span] = [(fit(first, names), "")]
                for text in others:
                    row += [gap, (fit(text, column), "strong")]
                rows.append(row)
        return rows
