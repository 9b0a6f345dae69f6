"""Two to six runs beside each other: recipes, curves, figures, answers."""

import time
from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.worker import get_current_worker

from engine.events import Metric
from engine.problems import Refusal
from engine.run.rundir import RunDir
from workbench.run_view import comparison, metrics
from workbench.run_view.chart_series import Curve
from workbench.run_view.comparison import LETTERS, Side
from workbench.run_view.run_reader import RunReader
from workbench.run_view.run_state import RunState
from workbench.screens.charted import ChartedScreen
from workbench.text.sanitize import clean_line
from workbench.widgets.chart import Chart
from workbench.widgets.keyline import KeyLine
from workbench.widgets.panes import Panes
from workbench.widgets.runnames import RunNames
from workbench.widgets.sideanswers import SideAnswers
from workbench.widgets.sidetable import SideTable
from workbench.widgets.titlebar import TitleBar
from workbench.widgets.toosmall import TooSmall

_READ_EVERY_S = 0.5
_PANES = ("curves", "figures", "answers")


class CompareScreen(ChartedScreen):
    """Follows those of its runs that are still at work."""

    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "series", "Series", id="compare-series", tooltip="Another series to compare"),
        Binding("l", "scale", "Log", id="compare-scale", tooltip="Logarithmic scale, and back"),
        Binding("plus,equals_sign", "zoom(1)", "Zoom", id="compare-zoom", tooltip="Half the steps"),
        *(
            Binding(str(number), f"pane({number - 1})", name, show=False, tooltip=f"Show {name}")
            for number, name in enumerate(_PANES, 1)
        ),
        Binding("escape", "leave", "Back", id="compare-leave", tooltip="Back to the runs"),
    ]

    class Arrived(Message):
        """What the runs told since; the latest holds all of it."""

        def __init__(self, sides: Sequence[Side]) -> None:
            super().__init__()
            self.sides = sides

        def can_replace(self, message: Message) -> bool:
            """A later one makes an earlier one needless."""
            return isinstance(message, CompareScreen.Arrived)

    def __init__(self, runs: Sequence[RunDir], *, is_ascii: bool = False) -> None:
        super().__init__()
        self._runs = runs
        self._is_ascii = is_ascii
        self.sides: Sequence[Side] = ()

    def compose(self) -> ComposeResult:
        """All panes; the style sheet shows one of them where there is no room for more."""
        yield TooSmall()
        yield TitleBar("compare")
        yield RunNames()
        yield Panes(_PANES)
        with Horizontal(id="curves"):
            yield Chart(metrics.LOSS, is_ascii=self._is_ascii, id="loss")
            yield Chart(metrics.TOKEN_ACCURACY, is_ascii=self._is_ascii, id="other")
        yield SideTable(id="figures")
        yield SideAnswers(id="answers")
        yield KeyLine()

    def on_mount(self) -> None:
        """Name the panes and begin to read."""
        self.query_one(TitleBar).show(f"{len(self._runs)} runs")
        self.query_one(RunNames).show([clean_line(run.name) for run in self._runs])
        self.query_one("#figures").border_title = "what differs, and what came of it"
        self.query_one("#answers").border_title = "answers of the adapters"
        self.action_pane(0)
        self._follow()

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the steps of any of the runs carry."""
        known = {m.name: m for side in self.sides for m in metrics.of_run(side.run)}
        return [*known.values()] or metrics.of_run(RunState())

    @property
    def turning(self) -> Chart:
        """The chart beside the loss."""
        return self.query_one("#other", Chart)

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
                self.post_message(self.Arrived(sides))
            elif not any(watch.state.is_alive for watch in watches):
                return
            is_new = False
            time.sleep(_READ_EVERY_S)

    def on_compare_screen_arrived(self, arrived: Arrived) -> None:
        """Draw what came."""
        sides = self.sides = arrived.sides
        curves = [
            Curve(side.run.steps, f"run {letter}", letter)
            for letter, side in zip(LETTERS, sides, strict=False)
        ]
        plans = [side.run.plan for side in sides if side.run.plan]
        total_steps = max((plan.total_steps for plan in plans), default=None)
        differences = comparison.differences(sides)
        heading = "recipe" if differences else "recipe: no key differs"
        with self.app.batch_update():
            for chart in self.query(Chart):
                chart.show(curves, total_steps)
            self.query_one(SideTable).show(
                [(heading, differences), ("figures", comparison.figures(sides))]
            )
            self.query_one(SideAnswers).show(comparison.answers(sides))

    def action_pane(self, index: int) -> None:
        """Show one pane where there is room for one only, else move to it."""
        for place, name in enumerate(_PANES):
            self.set_class(place == index, f"-{name}")
        self.query_one(Panes).choose(index)
        name = _PANES[index]
        self.set_focus(None if name == "curves" else self.query_one(f"#{name}"))

    def action_leave(self) -> None:
        """Back to where it was opened from."""
        self.dismiss(None)


def _recipe(run: RunDir) -> dict[str, str]:
    try:
        return comparison.keys(run.read_request_document()["recipe"])
    except (Refusal, KeyError, TypeError):
        return {}
