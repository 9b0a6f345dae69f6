"""The place among a preview's rows: what is shown, and what is asked for ahead."""

import pytest
from msgspec.structs import replace
from staged_preview import ANSWER, row, source

from engine.sessions.preview import Answer
from engine.sessions.source_report import TokenLengths
from workbench.sessions.row_browser import RowBrowser


def answered(browse: RowBrowser, answer: Answer = ANSWER) -> list[tuple[int, int]]:
    """Answer until nothing more is wanted; what was asked for."""
    asked = []
    while wanted := browse.next_request():
        asked.append(wanted)
        first, rows = wanted
        every = [
            (s.name, i) for s in answer.sources for i in range(min(s.num_taken, s.seen_per_epoch))
        ]
        browse.take(replace(answer, rows=tuple(row(*one) for one in every[first : first + rows])))
    return asked


def shown(browse: RowBrowser) -> tuple[str, int] | None:
    return (browse.row.source, browse.row.line) if browse.row else None


def test_nothing_is_shown_before_the_first_answer() -> None:
    browse = RowBrowser()
    browse.move(1)
    browse.turn(1)
    assert (browse.row, browse.source, browse.sources) == (None, None, ())


def test_every_row_of_every_source_can_be_reached() -> None:
    browse = RowBrowser()
    answered(browse)
    for name, count in (("quickstart", 250), ("kowiki", 40)):
        for line in range(1, count + 1):
            assert shown(browse) == (name, line)
            browse.move(1)
            answered(browse)
        browse.turn(1)
        answered(browse)
    assert shown(browse) == ("quickstart", 250)


def test_the_next_rows_are_at_hand_before_they_are_shown() -> None:
    browse = RowBrowser()
    answered(browse)
    asked = 0
    for _ in range(200):
        browse.move(1)
        assert browse.row is not None
        asked += len(answered(browse))
    assert asked <= 12


def test_a_far_row_is_waited_for_and_asked_for_once() -> None:
    browse = RowBrowser()
    answered(browse)
    browse.move(10**9)
    assert browse.row is None
    assert browse.next_request() is not None
    browse.move(-1)
    assert browse.next_request() is None
    browse.move(-(10**9))
    answered(browse)
    assert shown(browse) == ("quickstart", 1)


def test_each_source_keeps_its_place() -> None:
    browse = RowBrowser()
    answered(browse)
    for by, to in ((7, 1), (3, -1)):
        browse.move(by)
        browse.turn(to)
        answered(browse)
    assert shown(browse) == ("quickstart", 8)
    browse.turn(-1)
    answered(browse)
    assert shown(browse) == ("kowiki", 4)


@pytest.mark.parametrize("p95", [0, 140, 8_000, 10**9])
def test_of_long_rows_fewer_are_at_hand(p95: int) -> None:
    browse = RowBrowser()
    answered(browse, replace(ANSWER, sources=(source("a", tokens=TokenLengths(p95=p95)),)))
    browse.move(100)
    wanted = browse.next_request()
    assert wanted is not None
    assert wanted[1] == {0: 60, 140: 60, 8_000: 25, 10**9: 8}[p95]


def test_a_source_without_a_row_and_one_of_which_few_are_seen() -> None:
    empty, thin, last = source("empty", 0), source("thin", 9, seen_per_epoch=2), source("last", 3)
    browse = RowBrowser()
    answered(browse, replace(ANSWER, sources=(empty, thin, last)))
    assert browse.row is None
    browse.turn(1)
    browse.move(5)
    assert shown(browse) == ("thin", 2)
    browse.turn(1)
    assert shown(browse) == ("last", 1)


def test_fewer_rows_than_were_promised_end_the_asking() -> None:
    browse = RowBrowser()
    for _ in range(3):
        if browse.next_request():
            browse.take(ANSWER)
    assert browse.next_request() is None
    assert browse.row is None


def test_sources_that_became_fewer() -> None:
    browse = RowBrowser()
    answered(browse)
    browse.turn(1)
    browse.move(30)
    browse.take(replace(ANSWER, sources=(source("quickstart", 5),), rows=()))
    assert (browse.at_source, browse.place) == (0, 0)
