"""The chart, as rows of text."""

import math
import random
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot

from workbench import axis
from workbench.columns import Columns
from workbench.widgets.canvas import Row, changed
from workbench.widgets.chart import Chart

NAMES = ("loss",)


class ChartApp(App[None]):
    """One chart and nothing else."""

    CSS = "Chart { width: 1fr; height: 1fr; }"

    def __init__(self, *, is_ascii: bool = False) -> None:
        super().__init__()
        self.chart = Chart("loss", is_ascii=is_ascii)

    def compose(self) -> ComposeResult:
        yield self.chart


def columns(values: Sequence[float | None]) -> Columns:
    return longer(Columns(NAMES), values, 1)


def longer(steps: Columns, values: Sequence[float | None], first: int) -> Columns:
    losses = [math.nan if value is None else value for value in values]
    if not losses:
        return steps
    return steps.extended([{"step": range(first, first + len(losses)), "loss": losses}])


async def rows_of(
    values: Sequence[float | None], total: int | None = None, *, is_ascii: bool = False
) -> list[str]:
    app = ChartApp(is_ascii=is_ascii)
    async with app.run_test(size=(32, 8)):
        app.chart.show(columns(values), total)
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
        app.chart.show(columns([2, 3, 4]), 3)
        rows = app.chart.text_rows()
        assert rows[0] == "        4 measured  8 forecast"
        assert rows[1][8:] == f" {dash}" * 16
        app.chart.compare(None, "")
        app.chart.show(columns([2, 3, 4]), 3)
        assert app.chart.text_rows()[0] == "        4"


async def test_a_level_far_below_is_on_the_chart_too() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(1, "forecast")
        app.chart.show(columns([90, 91, 92]), 3)
        assert "⣀ ⣀ ⣀" in app.chart.text_rows()[-2]


async def test_a_level_is_seen_beside_a_curve_that_meets_it() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(95, "forecast")
        app.chart.show(columns([0] * 10 + [90] * 40), 50)
        assert "⠤⠶⠤⠶⠤⠶" in app.chart.text_rows()[1]


async def test_a_level_stands_before_the_first_step() -> None:
    app = ChartApp()
    async with app.run_test(size=(40, 8)):
        app.chart.compare(8, "forecast")
        app.chart.show(columns([]))
        assert app.chart.text_rows() == ["        no step yet  8 forecast"]


async def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.chart.show(columns([3, 2, 1]))
        await pilot.pause()
        assert "1" in app.chart.text_rows()[0]


async def test_drawn_again_equals_drawn_anew() -> None:
    dice = random.Random(11)
    app = ChartApp()
    values: list[float | None] = []
    steps = Columns(NAMES)
    async with app.run_test(size=(60, 12)) as pilot:
        for _ in range(25):
            more = [
                dice.choice([dice.lognormvariate(0, 1), None])
                for _ in range(dice.choice([1, 7, 90]))
            ]
            steps = longer(steps, more, len(values) + 1)
            values += more
            app.chart.show(steps, 4_000)
            if dice.random() < 0.3:
                await pilot.resize_terminal(dice.randint(20, 90), dice.randint(4, 20))
            await pilot.pause()
            await assert_as_anew(pilot, app.chart, values)


async def assert_as_anew(pilot: Pilot[None], chart: Chart, values: Sequence[float | None]) -> None:
    """What the terminal holds equals the lines of a chart that was never changed."""
    fresh = ChartApp()
    size = pilot.app.size
    async with fresh.run_test(size=(size.width, size.height)):
        fresh.chart.show(columns(values), 4_000)
        lines = [fresh.chart.render_line(y).text for y in range(size.height)]
    assert [chart.render_line(y).text for y in range(size.height)] == lines
    shown = pilot.app.screen._compositor.render_strips()
    assert [strip.text for strip in shown] == lines


def test_changed_regions_cover_every_difference() -> None:
    dice = random.Random(5)
    for _ in range(300):
        old, new = random_rows(dice), random_rows(dice)
        screen = {(x, y): cell for y, row in enumerate(padded(old)) for x, cell in enumerate(row)}
        regions = changed(old, new, 12)
        for y, row in enumerate(padded(new)):
            for x, cell in enumerate(row):
                if any(region.contains(x, y) for region in regions):
                    screen[x, y] = cell
        wanted = {(x, y): cell for y, row in enumerate(padded(new)) for x, cell in enumerate(row)}
        assert screen == wanted


def test_no_change_writes_nothing() -> None:
    rows: list[Row] = [[("abc", "dim")], []]
    assert changed(rows, list(rows), 12) == []
    assert changed([[("ab", ""), ("c", "")]], [[("abc", "")]], 12) == []


def test_wide_characters_rewrite_their_row() -> None:
    assert changed([[("한국", "")]], [[("한국어", "")]], 12) == [Region(0, 0, 12, 1)]


def test_many_steps_are_held_in_few_buckets() -> None:
    steps = columns([float(step % 100) for step in range(1, 200_001)])
    assert steps.limits("loss") == (0.0, 99.0)
    assert len(steps.means("loss")[0]) <= 2048
    known = [bucket for bucket in steps.curve("loss", 200_000, 120) if bucket]
    assert len(known) == 120
    assert sum(bucket.count for bucket in known) == 200_000
    assert all(bucket.mean == pytest.approx(49.5, abs=2.5) for bucket in known)


@pytest.mark.parametrize(
    ("least", "greatest", "wanted"),
    [
        (0.25, 4.0, (0.0, 4.0)),
        (0.91, 0.99, (0.91, 0.99)),
        (5.0, 5.0, (0.0, 10.0)),
        (0.0, 0.0, (0.0, 1.0)),
    ],
)
def test_limits_are_round(least: float, greatest: float, wanted: tuple[float, float]) -> None:
    assert axis.limits(least, greatest) == pytest.approx(wanted)


def test_limits_hold_the_data() -> None:
    dice = random.Random(2)
    for _ in range(2_000):
        least, greatest = sorted(dice.choice([1, -1]) * 10 ** dice.uniform(-8, 8) for _ in "ab")
        low, high = axis.limits(least, greatest)
        assert low < high
        assert low <= least + 1e-8 * (high - low)
        assert high >= greatest - 1e-8 * (high - low)
        ticks, _ = axis.ticks(low, high, 4)
        assert 2 <= len(ticks) <= 4


@pytest.mark.parametrize(
    ("last", "total", "wanted"),
    [(0, None, 50), (51, None, 100), (51, 60, 60), (30, 1000, 50), (70, 60, 100)],
)
def test_the_axis_of_steps_doubles_up_to_the_end(last: int, total: int | None, wanted: int) -> None:
    assert axis.end(last, total) == wanted


def padded(rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    cells = [[(char, ink) for text, ink in row for char in text] for row in rows]
    cells += [[] for _ in range(4 - len(cells))]
    return [row + [(" ", "")] * (12 - len(row)) for row in cells]


def random_rows(dice: random.Random) -> list[Row]:
    return [
        [
            ("".join(dice.choices("ab ", k=dice.randint(0, 4))), dice.choice(["", "dim"]))
            for _ in range(3)
        ]
        for _ in range(dice.randint(0, 4))
    ]
