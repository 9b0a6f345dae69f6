"""Curves over the steps of one run or several, a level to compare with, and a cursor."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rich.markup import escape
from textual import events
from textual.message import Message

from engine.events import Metric
from workbench.run_view import axis, metrics
from workbench.run_view.axis import Scale
from workbench.run_view.chart_window import ChartWindow, Extent
from workbench.run_view.series import Bucket, StepSeries
from workbench.text.styled import Row, Span, runs
from workbench.widgets.braille import BAND_INK, BOUND_INK, DOTS_X, LEVEL_INK, Raster
from workbench.widgets.canvas import Canvas

_LABEL_WIDTH = 7
_MIN_PLOT = 4
_ROWS_PER_TICK = 3
_PAST_WEIGHT = 0.75
"""Weight of what came before in the smoothed curve, at each column that has a value."""
Bound = tuple[str, Callable[[float], float]]
"""A series, and the most that the curve should be where that series has some value."""
Buckets = Sequence[Bucket | None]
"""One per column of dots; None where it has no step."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A run on a chart."""

    steps: StepSeries
    ink: str = "accent"
    letter: str = ""
    """What the run is called beside others."""


class Chart(Canvas):
    """Headline, curves, axes. Shows the view that it is given, so that charts move together."""

    class Pointed(Message):
        """The mouse is over a step, or over none."""

        def __init__(self, step: int | None) -> None:
            super().__init__()
            self.step = step

    def __init__(self, metric: Metric, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._curves: Sequence[Curve] = (Curve(StepSeries()),)
        self._total_steps: int | None = None
        self._marks: Collection[int] = ()
        self._view = ChartWindow()
        self._level: float | None = None
        self._level_name = ""
        self._bound: Bound | None = None
        self.choose(metric)

    def choose(self, metric: Metric) -> None:
        """Show another series."""
        self.metric = metric
        self.border_title = escape(metric.title)
        self.redraw()

    def compare(self, level: float | None, name: str) -> None:
        """Compare with a level from the next steps on; None is none."""
        self._level, self._level_name = level, name

    def bound(self, bound: Bound) -> None:
        """Show what the curve should stay below, from the next steps on."""
        self._bound = bound

    def show(
        self,
        curves: Sequence[Curve],
        total_steps: int | None = None,
        marks: Collection[int] = (),
    ) -> None:
        """Show these runs; marks are steps that their user marked."""
        self._curves, self._total_steps, self._marks = curves, total_steps, marks
        self.redraw()

    def look(self, view: ChartWindow) -> None:
        """Show another part."""
        if view != self._view:
            self._view = view
            self.redraw()

    @property
    def extent(self) -> Extent:
        """How far the runs reach."""
        last_step = max((curve.steps.last_step for curve in self._curves), default=-1)
        return Extent(axis.end(max(0, last_step), self._total_steps), last_step)

    def drawn(self, width: int, height: int) -> list[Row]:
        """Headline, curves with their labels, axis of steps."""
        cells, rows = width - _LABEL_WIDTH - 1, height - 2
        headline = self._drawn_headline(width)
        if cells < _MIN_PLOT or rows < 2:
            return [headline]
        first, last = self._view.window(self.extent)
        columns = cells * DOTS_X
        drawn = [self._buckets(curve, self.metric.name, columns) for curve in self._curves]
        measured = [bucket for buckets in drawn for bucket in buckets if bucket and bucket.count]
        if not measured:
            return [headline]
        level = [] if self._level is None else [self._level]
        least = min([*(bucket.least for bucket in measured), *level])
        greatest = max([*(bucket.greatest for bucket in measured), *level])
        scale = axis.scale(least, greatest, is_log=self._view.is_log and self.metric.has_log)
        body = self._drawn_plot(drawn, scale, columns, rows)
        lost = {
            x // DOTS_X
            for buckets in drawn
            for x, bucket in enumerate(buckets)
            if bucket and bucket.num_lost
        }
        return [headline, *body, self._drawn_steps(first, last, cells, lost)]

    def _buckets(self, curve: Curve, column: str, columns: int) -> Buckets:
        first, last = self._view.window(self.extent)
        return curve.steps.curve(column, first, last, columns)

    def _drawn_plot(self, drawn: list[Buckets], scale: Scale, columns: int, rows: int) -> list[Row]:
        raster = Raster(columns, rows, scale)
        for curve, buckets in zip(self._curves, drawn, strict=True):
            means = _means(buckets)
            raster.line(curve.ink, _smoothed(means) if self.metric.is_noisy else means)
        if self._level is not None:
            raster.dashes(LEVEL_INK, [self._level] * columns)
        if len(drawn) == 1:
            self._draw_around(raster, drawn[0], columns)
        labels = _labels(scale, rows)
        side = "|" if self._is_ascii else "│"
        at = self._cell_of(self._view.cursor, columns // DOTS_X)
        lines: list[Row] = []
        for y, (marks, inks) in enumerate(raster.plot(is_ascii=self._is_ascii)):
            if at is not None and marks[at] == " ":
                marks[at], inks[at] = side, "dim"
            label: Span = (f"{labels.get(y, ''):>{_LABEL_WIDTH}}{side}", "dim")
            lines.append([label, *runs("".join(marks), inks)])
        return lines

    def _draw_around(self, raster: Raster, buckets: Buckets, columns: int) -> None:
        """What was measured behind the smoothed curve, and what it should stay below."""
        if self._bound is not None:
            column, most = self._bound
            bounds = _means(self._buckets(self._curves[0], column, columns))
            values = [v if v is None or v != v else most(v) for v in bounds]
            raster.dashes(BOUND_INK, values)
        if self.metric.is_noisy:
            raster.line(BAND_INK, _means(buckets))
        ranges = [(b.least, b.greatest) if b and b.count else None for b in buckets]
        raster.band(BAND_INK, ranges)

    def _drawn_headline(self, width: int) -> Row:
        spans: list[Span] = []
        if self._view.cursor is not None:
            spans.append((f"step {self._view.cursor}  ", "dim"))
        for curve in self._curves:
            spans += [(f"{curve.letter} ", curve.ink)] if curve.letter else []
            spans += [self._drawn_value(curve), ("  " if curve.letter else "", "")]
        if self._level is not None:
            is_measured = any(len(curve.steps) for curve in self._curves)
            spans += [
                (" measured" if is_measured else "", "accent"),
                (f"  {metrics.written(self.metric, self._level)}", LEVEL_INK),
                (f" {self._level_name}", "dim"),
            ]
        spans += self._drawn_bound()
        indent = (" " * (_LABEL_WIDTH + 1), "")
        cells = sum(len(text) for text, _ in spans)
        return [indent, *spans] if cells + len(indent[0]) <= width else spans

    def _drawn_value(self, curve: Curve) -> Span:
        if not len(curve.steps):
            return "no step yet", "dim"
        value = self._value(curve, self.metric.name)
        if value is None:
            return "-", "dim"
        return (
            ("not a number", "bad")
            if value != value
            else (metrics.written(self.metric, value), "strong")
        )

    def _drawn_bound(self) -> list[Span]:
        if self._bound is None:
            return []
        column, most = self._bound
        value = self._value(self._curves[0], column)
        if value is None or value != value:
            return []
        return [("  sane below ", "dim"), (metrics.written(self.metric, most(value)), BOUND_INK)]

    def _value(self, curve: Curve, column: str) -> float | None:
        """The value under the cursor, the last one without a cursor; None where there is none."""
        if self._view.cursor is None:
            return curve.steps.last(column)
        bucket = curve.steps.at(column, self._view.cursor)
        return bucket.mean if bucket else None

    def _drawn_steps(self, first: int, last: int, cells: int, lost: set[int]) -> Row:
        """The axis of steps, with a cross where a step's value was lost, and the user's marks."""
        text = list(f"{first}" + f"{last} ".rjust(cells - len(str(first))))[:cells]
        inks = ["dim"] * cells
        cross, mark = ("x", "^") if self._is_ascii else ("×", "▲")
        marked = {self._cell_of(step, cells) for step in self._marks}
        for x in range(cells):
            if x in lost or x in marked:
                text[x], inks[x] = (cross, "bad") if x in lost else (mark, "warn")
        return [(" " * (_LABEL_WIDTH + 1), ""), *runs("".join(text), inks)]

    def _cell_of(self, step: int | None, cells: int) -> int | None:
        """The cell in which a step is drawn; None where it is not in view."""
        first, last = self._view.window(self.extent)
        if step is None or not first <= step <= last:
            return None
        return (step - first) * cells // (last + 1 - first)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Point at the step under the mouse."""
        offset = event.get_content_offset(self)
        cells = self.content_size.width - _LABEL_WIDTH - 1
        at = -1 if offset is None else offset.x - _LABEL_WIDTH - 1
        first, last = self._view.window(self.extent)
        step = first + at * (last + 1 - first) // cells if 0 <= at < cells else None
        if step is not None and step > self.extent.last_step:
            step = None
        if step != self._view.cursor:
            self.post_message(self.Pointed(step))

    def on_leave(self) -> None:
        """The mouse points at no step any more."""
        self.post_message(self.Pointed(None))


def _labels(scale: Scale, rows: int) -> dict[int, str]:
    ticks = scale.labels(max(3, rows // _ROWS_PER_TICK + 1))
    return {round((1 - scale.share(tick)) * (rows - 1)): text for tick, text in ticks}


def _means(buckets: Buckets) -> list[float | None]:
    return [bucket.mean if bucket else None for bucket in buckets]


def _smoothed(values: Sequence[float | None]) -> list[float | None]:
    """Means that forget what came before by and by, corrected for their beginning."""
    total = weight = 0.0
    smoothed: list[float | None] = []
    for value in values:
        if value is not None and value == value:
            total, weight = (
                _PAST_WEIGHT * total + (1 - _PAST_WEIGHT) * value,
                _PAST_WEIGHT * weight + 1 - _PAST_WEIGHT,
            )
            value = total / weight
        smoothed.append(value)
    return smoothed
