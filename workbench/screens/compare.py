"""Two to six runs beside each other: recipes, curves, figures, answers."""

import time
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.worker import get_current_worker

from engine.events import Metric
from engine.problems import Refusal
from engine.run.rundir import RunDir
from workbench.run_view import comparison, metrics
from workbench.run_view.comparison import LETTERS, Side
from workbench.run_view.run_reader import RunReader
from workbench.run_view.run_state import RunState
from workbench.screens.bench_screen import pane_keys
from workbench.screens.charted import ChartedScreen
from workbench.text.sanitize import sanitize_line
from workbench.widgets.canvas import Drawing, Pager
from workbench.widgets.chart import Chart, Curve
from workbench.widgets.frame import is_displayed

_READ_EVERY_S = 0.5


class CompareScreen(ChartedScreen):
    """Follows those of its runs that are still at work."""

    NAME = "compare"
    CSS_PATH = "compare.tcss"
    PANES: ClassVar = {"curves": None, "figures": "#figures", "answers": "#answers"}
    PANE_TITLES: ClassVar = {
        "figures": "what differs, and what came of it",
        "answers": "answers of the adapters",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "series", "Series", id="charts-series", tooltip="Another series to compare"),
        Binding("l", "scale", "Log", id="charts-scale", tooltip="Logarithmic scale, and back"),
        Binding("plus,equals_sign", "zoom(1)", "Zoom", id="charts-zoom-in", tooltip="Half of it"),
        *pane_keys(PANES),
        Binding("escape", "leave", "Back", id="compare-leave", tooltip="Back to the runs"),
    ]

    def __init__(self, runs: Sequence[RunDir]) -> None:
        super().__init__()
        self._runs = runs
        self.sides: Sequence[Side] = ()

    def compose_body(self) -> ComposeResult:
        """Letters of the runs, curves, figures, answers."""
        yield Drawing(id="runs")
        yield Drawing(id="panes")
        with Horizontal(id="curves"):
            yield Chart(metrics.LOSS, is_ascii=self.is_ascii, id="loss")
            yield Chart(metrics.TOKEN_ACCURACY, is_ascii=self.is_ascii, id="other")
        yield Pager(id="figures")
        yield Pager(id="answers")

    def on_mount(self) -> None:
        """Begin to read."""
        self.set_subject(f"{len(self._runs)} runs")
        names = [sanitize_line(run.name) for run in self._runs]
        self.query_one("#runs", Drawing).show(lambda width, _: comparison.name_rows(names, width))
        self._follow()

    def on_screen_resume(self) -> None:
        """Keys scroll the figures where they are seen beside the curves."""
        self.call_after_refresh(self._scroll_figures)

    def _scroll_figures(self) -> None:
        figures = self.query_one("#figures")
        if self.focused is None and is_displayed(figures):
            self.set_focus(figures)

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the steps of any of the runs carry."""
        by_name = {m.name: m for side in self.sides for m in metrics.of_run(side.run)}
        return [*by_name.values()] or metrics.of_run(RunState())

    @work(thread=True, group="follow")
    def _follow(self) -> None:
        """Read and fold all runs in a thread, until none of them is at work."""
        worker = get_current_worker()
        watches = [RunReader(run) for run in self._runs]
        recipes = [_recipe(run) for run in self._runs]
        is_new = True
        while not worker.is_cancelled:
            read = [watch.read() for watch in watches]
            if any(read) or is_new:
                sides = [
                    Side(run.name, recipe, watch.run, watch.state)
                    for run, recipe, watch in zip(self._runs, recipes, watches, strict=True)
                ]
                self.call_later(self._take, sides)
            elif not any(watch.state.is_alive for watch in watches):
                return
            is_new = False
            time.sleep(_READ_EVERY_S)

    def _take(self, sides: Sequence[Side]) -> None:
        """Draw what came."""
        self.sides = sides
        curves = [
            Curve(side.run.steps, f"run {letter}", letter)
            for letter, side in zip(LETTERS, sides, strict=False)
        ]
        plans = [side.run.plan for side in sides if side.run.plan]
        total_steps = max((plan.total_steps for plan in plans), default=None)
        figures = partial(comparison.figure_rows, sides)
        answers = partial(comparison.answer_rows, comparison.answers(sides))
        with self.app.batch_update():
            for chart in self.query(Chart):
                chart.show(curves, total_steps)
            self.query_one("#figures", Pager).show_lines(figures)
            self.query_one("#answers", Pager).show_lines(answers)


def _recipe(run: RunDir) -> dict[str, str]:
    try:
        return comparison.keys(run.read_request_document()["recipe"])
    except (Refusal, KeyError, TypeError):
        return {}
