"""The part of a run that charts show."""

import random

from workbench.run_view.chart_window import ChartWindow, Extent

RUN = Extent(end=1_000, last_step=900)


def test_the_whole_run_at_first() -> None:
    assert ChartWindow().window(RUN) == (0, 1_000)


def test_closer_views_follow_the_end() -> None:
    closer = ChartWindow().zoomed(2, RUN)
    first, last = closer.window(RUN)
    assert last - first + 1 == 250
    assert first <= 900 <= last
    still = {closer.window(Extent(1_000, step)) for step in range(751, 875)}
    assert len(still) == 1
    assert closer.zoomed(-2, RUN).window(RUN) == (0, 1_000)


def test_closer_views_are_around_the_cursor() -> None:
    first, last = ChartWindow(cursor=300).zoomed(2, RUN).window(RUN)
    assert first + last in range(598, 602)


def test_the_cursor_comes_and_goes_at_the_last_step() -> None:
    at_end = ChartWindow().moved(-1, RUN)
    assert at_end.cursor == 900
    assert at_end.moved(1, RUN).cursor is None
    assert at_end.moved(-1, RUN).cursor == 884
    assert ChartWindow().moved(-1, Extent(50, -1)).cursor is None


def test_the_cursor_stays_in_view_wherever_it_goes() -> None:
    dice = random.Random(4)
    view = ChartWindow().moved(-1, RUN)
    for _ in range(3_000):
        by = dice.choice([-10, -1, 1, 10])
        view = view.zoomed(by, RUN) if dice.random() < 0.2 else view.moved(by, RUN)
        first, last = view.window(RUN)
        assert 0 <= first < last <= RUN.end
        assert view.cursor is None or first <= view.cursor <= last


def test_there_is_a_closest_view() -> None:
    view = ChartWindow()
    for _ in range(50):
        view = view.zoomed(1, RUN)
    first, last = view.window(RUN)
    assert last - first + 1 == 16
    assert view.zoomed(-1, RUN).window(RUN) != (first, last)


def test_short_runs_are_shown_whole() -> None:
    assert ChartWindow().zoomed(1, Extent(5, 3)).window(Extent(5, 3)) == (0, 5)


def test_whole_keeps_the_scale() -> None:
    assert ChartWindow(halvings=3, cursor=5, is_log=True).whole() == ChartWindow(is_log=True)
