"""What screens with charts have in common: the part of a run that is shown, and the cursor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import BindingType

from engine.events import Metric
from workbench.run_view.chart_window import ChartWindow
from workbench.screens.bench_screen import BenchScreen
from workbench.widgets.chart import Chart
from workbench.widgets.quiet_keys import quiet_key


class ChartedScreen(BenchScreen):
    """All of its charts show the same steps; keys and mouse move them together."""

    BINDINGS: ClassVar[list[BindingType]] = [
        quiet_key("charts-zoom-in", "plus,equals_sign", "zoom(1)", "Zoom in", "Half the steps"),
        quiet_key("charts-zoom-out", "minus", "zoom(-1)", "Zoom out", "Twice the steps"),
        quiet_key("charts-whole", "0", "whole", "Whole run", "All steps, no cursor"),
        quiet_key("charts-left", "left", "point(-1)", "Cursor left", "An earlier value"),
        quiet_key("charts-right", "right", "point(1)", "Cursor right", "A later value"),
        quiet_key("charts-far-left", "shift+left", "point(-10)", "Far left", "Much earlier"),
        quiet_key("charts-far-right", "shift+right", "point(10)", "Far right", "Much later"),
        quiet_key("charts-scale", "l", "scale", "Log scale", "Logarithmic, and back"),
        quiet_key("charts-series", "v", "series", "Series", "Another on the second chart"),
    ]
    view = ChartWindow()

    @property
    def metrics(self) -> Sequence[Metric]:
        """What its charts can show."""
        raise NotImplementedError

    @property
    def turning(self) -> Chart:
        """The chart beside the loss, whose series can be chosen."""
        return self.query_one("#other", Chart)

    def _look(self, view: ChartWindow) -> None:
        self.view = view
        with self.app.batch_update():
            for chart in self.query(Chart):
                chart.look(view)

    def action_zoom(self, by: int) -> None:
        """Closer or wider, around the cursor or the run's end."""
        self._look(self.view.zoomed(by, self.turning.extent))

    def action_whole(self) -> None:
        """All steps again."""
        self._look(self.view.whole())

    def action_point(self, by: int) -> None:
        """The cursor to another step."""
        self._look(self.view.moved(by, self.turning.extent))

    def action_scale(self) -> None:
        """With or without a logarithmic scale, where it makes sense."""
        self._look(replace(self.view, is_log=not self.view.is_log))

    def action_series(self) -> None:
        """The next series."""
        names = [metric.name for metric in self.metrics]
        shown = self.turning.metric.name
        following = names.index(shown) + 1 if shown in names else 0
        self.turning.choose(self.metrics[following % len(names)])

    @on(Chart.Pointed)
    def _point_at(self, pointed: Chart.Pointed) -> None:
        self._look(replace(self.view, cursor=pointed.step))
