"""A curve over the steps of a run, and a level to compare it with."""

from collections.abc import Callable
from itertools import groupby

from workbench import axis
from workbench.buckets import Bucket
from workbench.columns import Columns
from workbench.widgets.braille import DOTS_X, LEVEL_INK, plot
from workbench.widgets.canvas import Canvas, Row, Span

_LABEL_WIDTH = 7
_MIN_PLOT = 4
_ROWS_PER_TICK = 3


class Chart(Canvas):
    """One column of a run's steps: headline, curve, axes; a level is a dashed line."""

    def __init__(
        self,
        column: str,
        headline: Callable[[float], str] = "{:.4g}".format,
        *,
        is_ascii: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._column = column
        self._headline = headline
        self._is_ascii = is_ascii
        self._total_steps: int | None = None
        self._steps = Columns((column,))
        self._level: float | None = None
        self._level_name = ""

    def choose(self, column: str) -> None:
        """Show another column, from the next steps on."""
        if column != self._column:
            self._column = column
            self._steps = Columns((column,))

    def compare(self, level: float | None, name: str) -> None:
        """Compare with a level from the next steps on; None is none."""
        self._level, self._level_name = level, name

    def show(self, steps: Columns, total_steps: int | None = None) -> None:
        """Show the steps."""
        self._steps, self._total_steps = steps, total_steps
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """Headline, curve with its labels, axis of steps."""
        cells, rows = width - _LABEL_WIDTH - 1, height - 2
        found = self._steps.limits(self._column)
        headline = self._drawn_headline(width)
        if found is None or cells < _MIN_PLOT or rows < 2:
            return [headline]
        level = [] if self._level is None else [self._level]
        low, high = axis.limits(min(*found, *level), max(*found, *level))
        end = axis.end(self._steps.last_step, self._total_steps)
        columns = self._steps.curve(self._column, end, cells * DOTS_X)
        labels = _labels(low, high, rows)
        body = plot(columns, low, high, rows, is_ascii=self._is_ascii, level=self._level)
        side = "|" if self._is_ascii else "│"
        lines: list[Row] = [
            [(f"{labels.get(y, ''):>{_LABEL_WIDTH}}{side}", "dim"), *_runs(marks, inks)]
            for y, (marks, inks) in enumerate(zip(body.marks, body.inks, strict=True))
        ]
        return [headline, *lines, self._drawn_steps(columns, end)]

    def _drawn_headline(self, width: int) -> Row:
        indent = (" " * (_LABEL_WIDTH + 1), "")
        if self._level is None:
            return [indent, self._drawn_last()]
        legend: Row = [
            self._drawn_last(),
            (" measured" if self._steps else "", "accent"),
            (f"  {self._headline(self._level)}", LEVEL_INK),
            (f" {self._level_name}", "dim"),
        ]
        cells = sum(len(text) for text, _ in legend)
        return [indent, *legend] if cells + len(indent[0]) <= width else legend

    def _drawn_last(self) -> Span:
        if not self._steps:
            return "no step yet", "dim"
        last = self._steps.last(self._column)
        if last != last:
            return "not a number", "bad"
        return self._headline(last), "strong"

    def _drawn_steps(self, columns: list[Bucket | None], end: int) -> Row:
        """The axis of steps, with a cross where a step's value was lost."""
        cells = len(columns) // DOTS_X
        text = list("0" + f"{end} ".rjust(cells - 1))
        lost = {x // DOTS_X for x, bucket in enumerate(columns) if bucket and bucket.num_lost}
        inks = ["bad" if x in lost else "dim" for x in range(cells)]
        for x in lost:
            text[x] = "x" if self._is_ascii else "×"
        return [(" " * (_LABEL_WIDTH + 1), ""), *_runs("".join(text), inks)]


def _labels(low: float, high: float, rows: int) -> dict[int, str]:
    found, step = axis.ticks(low, high, max(3, rows // _ROWS_PER_TICK + 1))
    return {
        round((high - tick) / (high - low) * (rows - 1)): axis.label(tick, high, step)
        for tick in found
    }


def _runs(text: str, inks: list[str]) -> Row:
    """Neighbours of the same ink as one span."""
    pairs = groupby(zip(text, inks, strict=True), key=lambda pair: pair[1])
    return [("".join(char for char, _ in group), ink) for ink, group in pairs]
