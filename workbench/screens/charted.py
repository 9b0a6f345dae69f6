"""What screens with charts have in common: the part of a run that is shown, and the cursor."""

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen

from workbench.measures import CHOICES
from workbench.view import View
from workbench.widgets.chart import Chart


class ChartedScreen(Screen[None]):
    """All of its charts show the same steps; keys and mouse move them together."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1)", "Zoom in", show=False, tooltip="Half the steps"),
        Binding("minus", "zoom(-1)", "Zoom out", show=False, tooltip="Twice the steps"),
        Binding("0", "whole", "Whole run", show=False, tooltip="All steps, no cursor"),
        Binding("left", "point(-1)", "Cursor left", show=False, tooltip="Read an earlier value"),
        Binding("right", "point(1)", "Cursor right", show=False, tooltip="Read a later value"),
        Binding("shift+left", "point(-10)", "Cursor far left", show=False),
        Binding("shift+right", "point(10)", "Cursor far right", show=False),
        Binding("l", "scale", "Log scale", show=False, tooltip="Logarithmic, and back"),
        Binding("v", "series", "Series", show=False, tooltip="Another series on this chart"),
    ]
    view = View()

    @property
    def turning(self) -> Chart:
        """The chart whose series can be chosen."""
        raise NotImplementedError

    def _look(self, view: View) -> None:
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
        self._look(self.view.turned())

    def action_series(self) -> None:
        """The next series."""
        at = CHOICES.index(self.turning.measure)
        self.turning.choose(CHOICES[(at + 1) % len(CHOICES)])

    @on(Chart.Pointed)
    def _point_at(self, pointed: Chart.Pointed) -> None:
        self._look(self.view.pointed(pointed.step))
