"""The chart, as rows of text."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from engine.events import Metric
from workbench.run_view.chart_window import ChartWindow
from workbench.run_view.series import StepSeries
from workbench.widgets.chart import Chart, Curve

NAMES = ("loss",)


class ChartApp(App[None]):
    """One chart and nothing else."""

    CSS = "Chart { width: 1fr; height: 1fr; }"

    def __init__(self, *, is_ascii: bool = False, is_noisy: bool = False) -> None:
        super().__init__()
        self.chart = Chart(
            Metric(name="loss", title="loss", is_noisy=is_noisy, has_log=True), is_ascii=is_ascii
        )

    def compose(self) -> ComposeResult:
        yield self.chart


def columns(values: Sequence[float | None]) -> StepSeries:
    return longer(StepSeries(), values, 1)


def longer(steps: StepSeries, values: Sequence[float | None], first: int) -> StepSeries:
    losses = [math.nan if value is None else value for value in values]
    if not losses:
        return steps
    return steps.extended([{"step": range(first, first + len(losses)), "loss": losses}])


async def rows_of(
    values: Sequence[float | None], total: int | None = None, *, is_ascii: bool = False
) -> list[str]:
    app = ChartApp(is_ascii=is_ascii)
    async with app.run_test(size=(32, 8)):
        app.chart.show([Curve(columns(values))], total)
        return app.chart.text_rows()


async def test_a_falling_loss() -> None:
    assert await rows_of([4, 3, 2, 1, 0.5, 0.25], 6) == [
        "        0.25",
        "      4│   ⠙⢦⣀",
        "       │     ⠈⠳⣄",
        "      2│       ⠈⠓⢦⡀",
        "       │          ⠙⠲⣄",
        "       │            ⠈⠙⠲⢤⣀",
        "      0│                ⠈⠉⠓⠒⠦",
        "        0                     6",
    ]


async def test_no_step_yet() -> None:
    assert await rows_of([]) == ["        no step yet"]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-5, 4096.0])
async def test_a_constant_series_is_a_flat_line(value: float) -> None:
    rows = await rows_of([value] * 40)
    assert len(rows) == 8
    assert sum(any("\u2800" < char < "\u2900" for char in row) for row in rows) == 1


async def test_lost_values_leave_a_gap_and_a_cross() -> None:
    rows = await rows_of([1.0] * 10 + [None, math.nan, math.inf] * 4 + [1.0] * 28, 50)
    line = next(row for row in rows if any("\u2800" < char < "\u2900" for char in row))
    curve = line.partition("│")[2]
    assert " " in curve.strip()
    assert "×" in rows[-1]
    assert rows[0].strip() == "1"


async def test_the_last_value_may_be_lost() -> None:
    assert (await rows_of([1.0, math.nan]))[0].strip() == "not a number"


async def test_only_lost_values() -> None:
    assert await rows_of([None, None]) == ["        not a number"]


async def test_ascii_marks() -> None:
    assert await rows_of([4, 3, 2, 1, 0.5, 0.25], 6, is_ascii=True) == [
        "        0.25",
        '      4|   "|.',
        "       |     '|.",
        "      2|       '\"|.",
        '       |          "-.',
        "       |            '\"-..",
        "      0|                ''\"\"-",
        "        0                     6",
    ]


@pytest.mark.parametrize(("is_ascii", "dash"), [(False, "⠉"), (True, "=")])
async def test_a_level_is_a_dashed_line_with_a_legend(is_ascii: bool, dash: str) -> None:
    app = ChartApp(is_ascii=is_ascii)
    async with app.run_test(size=(40, 8)):
        app.chart.compare(8, "forecast")
        app.chart.show([Curve(columns([2, 3, 4]))], 3)
        rows = app.chart.text_rows()
        assert rows[0] == "        4 measured  8 forecast"
        assert rows[1][8:] == f" {dash}" * 16
        app.chart.compare(None, "")
        app.chart.show([Curve(columns([2, 3, 4]))], 3)
        assert app.chart.text_rows()[0] == "        4"


async def test_a_level_far_below_is_on_the_chart_too() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(1, "forecast")
        app.chart.show([Curve(columns([90, 91, 92]))], 3)
        assert "⣀ ⣀ ⣀" in app.chart.text_rows()[-2]


async def test_a_level_is_seen_beside_a_curve_that_meets_it() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(95, "forecast")
        app.chart.show([Curve(columns([0] * 10 + [90] * 40))], 50)
        assert "⠤⠶⠤⠶⠤⠶" in app.chart.text_rows()[1]


async def test_a_level_stands_before_the_first_step() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(8, "forecast")
        app.chart.show([Curve(columns([]))])
        assert app.chart.text_rows() == ["        no step yet  8 forecast"]


async def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.chart.show([Curve(columns([3, 2, 1]))])
        await pilot.pause()
        assert "1" in app.chart.text_rows()[0]


async def test_drawn_again_equals_drawn_anew() -> None:
    dice = random.Random(11)
    app = ChartApp()
    values: list[float | None] = []
    steps = StepSeries()
    async with app.run_test(size=(60, 12)) as pilot:
        for _ in range(25):
            more = [
                dice.choice([dice.lognormvariate(0, 1), None])
                for _ in range(dice.choice([1, 7, 90]))
            ]
            steps = longer(steps, more, len(values) + 1)
            values += more
            app.chart.show([Curve(steps)], 4_000)
            if dice.random() < 0.3:
                await pilot.resize_terminal(dice.randint(20, 90), dice.randint(4, 20))
            await pilot.pause()
            await assert_as_anew(pilot, app.chart, values)


async def assert_as_anew(pilot: Pilot[None], chart: Chart, values: Sequence[float | None]) -> None:
    """What the terminal holds equals the lines of a chart that was never changed."""
    fresh = ChartApp()
    size = pilot.app.size
    async with fresh.run_test(size=(size.width, size.height)):
        fresh.chart.show([Curve(columns(values))], 4_000)
        lines = [fresh.chart.render_line(y).text for y in range(size.height)]
    assert [chart.render_line(y).text for y in range(size.height)] == lines
    shown = pilot.app.screen._compositor.render_strips()
    assert [strip.text for strip in shown] == lines


def test_many_steps_are_held_in_few_buckets() -> None:
    steps = columns([float(step % 100) for step in range(1, 200_001)])
    assert len(steps.means("loss")[0]) <= 2048
    known = [bucket for bucket in steps.curve("loss", 0, 200_000, 120) if bucket]
    assert len(known) == 120
    assert sum(bucket.count for bucket in known) == 200_000
    assert all(bucket.mean == pytest.approx(49.5, abs=2.5) for bucket in known)


async def test_a_noisy_series_is_smoothed_with_its_values_behind() -> None:
    app = ChartApp(is_ascii=True, is_noisy=True)
    async with app.run_test(size=(58, 8)):
        app.chart.show([Curve(columns([1.0, 3.0] * 25))], 50)
        rows = [row[8:] for row in app.chart.text_rows()[1:-1]]
        assert any(":" in row for row in (rows[0], rows[1]))
        raw = [y for y, row in enumerate(rows) if ":" in row[-20:]]
        smooth = [y for y, row in enumerate(rows) if set(row[-20:]) - set(" :=")]
        assert max(raw) - min(raw) == 3
        assert max(smooth) - min(smooth) <= 1


async def test_zoomed_charts_show_a_part() -> None:
    app = ChartApp()
    async with app.run_test(size=(48, 10)):
        app.chart.show([Curve(columns([5.0] * 100 + [1.0] * 100))], 200)
        assert app.chart.text_rows()[-1].split() == ["0", "200"]
        view = ChartWindow().zoomed(1, app.chart.extent)
        app.chart.look(view)
        assert app.chart.text_rows()[-1].split() == ["150", "249"]
        assert not any("5│" in row for row in app.chart.text_rows())
        app.chart.look(replace(view, pinned=0))
        assert app.chart.text_rows()[-1].split() == ["0", "99"]
        assert app.chart.text_rows()[0].strip() == "1"


async def test_the_cursor_reads_a_value() -> None:
    app = ChartApp()
    async with app.run_test(size=(48, 10)):
        app.chart.show([Curve(columns([float(step) for step in range(1, 51)]))], 50)
        app.chart.look(ChartWindow(cursor=20))
        rows = app.chart.text_rows()
        assert rows[0].split() == ["step", "20", "20"]
        at = 8 + 20 * 40 // 51
        assert [row[at] for row in rows[1:5]] == ["│"] * 4
        app.chart.look(ChartWindow(cursor=0))
        assert app.chart.text_rows()[0].split() == ["step", "0", "-"]


async def test_several_runs_have_letters() -> None:
    app = ChartApp(is_ascii=True)
    async with app.run_test(size=(48, 10)):
        curves = [
            Curve(columns([4.0] * 50), "run a", "a"),
            Curve(columns([1.0] * 25), "run b", "b"),
        ]
        app.chart.show(curves, 50)
        rows = app.chart.text_rows()
        assert rows[0].split() == ["a", "4", "b", "1"]
        assert next(row for row in rows[1:] if "a" in row).count("a") > 35
        assert 15 < next(row for row in rows[1:] if "b" in row).count("b") < 25


async def test_what_a_curve_should_stay_below_is_drawn_where_it_is_in_view() -> None:
    app = ChartApp(is_ascii=True)
    async with app.run_test(size=(48, 10)):
        app.chart.bound(("loss", lambda loss: 3 - loss / 2))
        app.chart.show([Curve(columns([4.0] * 25 + [0.0] * 25))], 50)
        first, second = (
            {y for y, row in enumerate(app.chart.text_rows()) if "~" in row[8 + start : 28 + start]}
            for start in (0, 20)
        )
        assert (first, second) == ({6}, {3})


async def test_marks_stand_on_the_axis() -> None:
    app = ChartApp(is_ascii=True)
    async with app.run_test(size=(48, 10)):
        app.chart.show([Curve(columns([1.0] * 50))], 49, marks=(0, 25))
        axis_row = app.chart.text_rows()[-1][8:]
        assert (axis_row[0], axis_row[19]) == ("^", "^")


async def test_the_mouse_points_at_a_step() -> None:
    pointed: list[int | None] = []

    class Pointing(ChartApp):
        def on_chart_pointed(self, event: Chart.Pointed) -> None:
            pointed.append(event.step)
            self.chart.look(ChartWindow(cursor=event.step))

    app = Pointing()
    async with app.run_test(size=(48, 10)) as pilot:
        app.chart.show([Curve(columns([1.0] * 50))], 49)
        await pilot.hover(Chart, offset=(8 + 20, 4))
        await pilot.hover(Chart, offset=(2, 4))
        await pilot.pause()
        assert 25 in pointed
        assert pointed[-1] is None
