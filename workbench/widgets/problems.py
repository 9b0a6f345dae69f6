"""What keeps a run from being started, each with its remedy, or that nothing does."""

from collections.abc import Sequence

from engine.problems import Problem
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import wrap

_INDENT = "  "


class Problems(Pager):
    """A verdict on the first line, problems below it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._verdict = ("", "")
        self._problems: Sequence[Problem] = ()

    def show(self, verdict: tuple[str, str], problems: Sequence[Problem] = ()) -> None:
        """Show a verdict with its ink, and the problems behind it."""
        self._verdict, self._problems = verdict, problems
        self.redraw()

    def lines(self, width: int) -> list[Row]:
        """Where, what, and what to do."""
        text, ink = self._verdict
        rows: list[Row] = [[(line, ink)] for line in wrap(text, width)]
        for problem in self._problems:
            given = f" = {problem.value}" if problem.value else ""
            rows.append([])
            rows += [[(line, "strong")] for line in wrap(f"{problem.key}{given}", width)]
            rows += _indented(problem.reason, "", width)
            rows += _indented(problem.fix, "accent", width)
        return rows


def _indented(text: str, ink: str, width: int) -> list[Row]:
    return [[(_INDENT, ""), (line, ink)] for line in wrap(text, width - len(_INDENT))]
