"""Axes: round limits that hold the data, ticks, logarithms."""

import random

import pytest

from workbench.run_view import axis


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


def test_a_logarithmic_scale_holds_the_data_between_round_numbers() -> None:
    dice = random.Random(3)
    for _ in range(2_000):
        least, greatest = sorted(10 ** dice.uniform(-7, 5) for _ in "ab")
        scale = axis.scale(least, greatest, is_log=True)
        assert scale.is_log
        assert scale.low <= least * (1 + 1e-9) < scale.high
        assert scale.high >= greatest * (1 - 1e-9)
        assert 0 <= scale.share(least) <= scale.share(greatest) <= 1
        labels = scale.labels(4)
        assert 2 <= len(labels) <= 4
        assert len({text for _, text in labels}) == len(labels)


def test_equal_shares_are_equal_ratios() -> None:
    scale = axis.scale(0.01, 100, is_log=True)
    assert [scale.share(value) for value in (0.01, 0.1, 1, 10, 100)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    assert [text for _, text in scale.labels(5)] == ["0.01", "0.1", "1", "10", "100"]


def test_no_logarithm_of_nothing() -> None:
    assert not axis.scale(0.0, 4.0, is_log=True).is_log
