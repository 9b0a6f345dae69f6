"""A curve over the steps of a run."""

from collections.abc import Callable
from itertools import groupby

from workbench import axis
from workbench.buckets import Bucket, Buckets
from workbench.columns import Columns
from workbench.widgets.braille import DOTS_X, plot
from workbench.widgets.canvas import Canvas, Row

_LABEL_WIDTH = 7
_MIN_PLOT = 4
_ROWS_PER_TICK = 3


class Chart(Canvas):
    """One column of a run's steps: headline, curve, axes."""

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
        self._shown = Columns(("step", column))
        self._buckets = Buckets()
        self._last: float | None = None

    def choose(self, column: str) -> None:
        """Show another column, from the next steps on."""
        if column != self._column:
            self._column = column
            self._shown = Columns(("step", column))

    def show(self, steps: Columns, total_steps: int | None = None) -> None:
        """Show the steps; only those that are new cost anything."""
        if not steps.continues(self._shown):
            self._shown, self._buckets = Columns(steps.names), Buckets()
        start = len(self._shown)
        values = steps.column(self._column, start)
        self._buckets.extend(steps.column("step", start), values)
        self._last = steps.value(self._column, -1) if len(steps) else None
        self._shown, self._total_steps = steps, total_steps
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """Headline, curve with its labels, axis of steps."""
        cells, rows = width - _LABEL_WIDTH - 1, height - 2
        found = self._buckets.limits()
        headline = self._drawn_headline()
        if found is None or cells < _MIN_PLOT or rows < 2:
            return [headline]
        low, high = axis.limits(*found)
        end = axis.end(self._buckets.last_step, self._total_steps)
        columns = self._buckets.columns(end, cells * DOTS_X)
        labels = _labels(low, high, rows)
        body = plot(columns, low, high, rows, is_ascii=self._is_ascii)
        side = "|" if self._is_ascii else "│"
        lines: list[Row] = [
            [(f"{labels.get(y, ''):>{_LABEL_WIDTH}}{side}", "dim"), *_runs(marks, inks)]
            for y, (marks, inks) in enumerate(zip(body.marks, body.inks, strict=True))
        ]
        return [headline, *lines, self._drawn_steps(columns, end)]

    def _drawn_headline(self) -> Row:
        if self._last is None:
            return [(" " * (_LABEL_WIDTH + 1), ""), ("no step yet", "dim")]
        is_lost = self._last != self._last
        shown = "not a number" if is_lost else self._headline(self._last)
        return [(" " * (_LABEL_WIDTH + 1), ""), (shown, "bad" if is_lost else "strong")]

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
