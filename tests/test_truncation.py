"""Which exchanges of a long talk go, in literal ids."""

import pytest

from engine.data.encoding.tokens import Tokens
from engine.data.encoding.truncation import truncated

START = 9


def talk(*lengths: int, system: bool = False) -> Tokens:
    """Exchanges of a question (10, 20, ...) and an answer of so many tokens (11, 11, 21, ...)."""
    ids = [2, START, 7] if system else [2]
    for number, length in enumerate(lengths, start=1):
        ids += [START, 10 * number, START, *[10 * number + 1] * length]
    return Tokens(ids, [-token for token in ids], False)


FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH = (
    [9, 10, 9, 11], [9, 20, 9, 21], [9, 30, 9, 31], [9, 40, 9, 41], [9, 50, 9, 51], [9, 60, 9, 61]
)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "max_length", "expected"),
    [
        (talk(1, 1, 1, 1, 1), 21, [2, *FIRST, *SECOND, *THIRD, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1), 20, [2, *FIRST, *SECOND, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1), 17, [2, *FIRST, *SECOND, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1), 16, [2, *FIRST, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1), 9, [2, *FIRST, *FIFTH]),
        (talk(1, 1, 1, 1, 1), 7, [2, *FIRST, 9, 50]),
        (talk(1, 1, 1, 1, 1, 1), 24, [2, *FIRST, *SECOND, *FOURTH, *FIFTH, *SIXTH]),
        (talk(1, 1, 1, 1, 1, 1), 20, [2, *FIRST, *SECOND, *FIFTH, *SIXTH]),
        (talk(1, 1, 1, 1, 1, 1), 16, [2, *FIRST, *FIFTH, *SIXTH]),
        (talk(1, 5, 1, 1, 1), 24, [2, *FIRST, 9, 20, 9, *[21] * 5, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1, system=True), 22, [2, 9, 7, *FIRST, *SECOND, *FOURTH, *FIFTH]),
        (talk(1, 1, 1, 1, 1, system=True), 12, [2, 9, 7, *FIRST, *FIFTH, ]),
        (talk(1, 1), 7, [2, *FIRST, 9, 20]),
    ],
)  # fmt: skip
def test_exchanges_go_from_the_middle(row: Tokens, max_length: int, expected: list[int]) -> None:
    cut = truncated(row, max_length, "cut_middle", START)
    assert cut.ids == expected
    assert cut.labels == [-token for token in expected]
    assert cut.is_truncated is (len(row.ids) > max_length)


@pytest.mark.parametrize(("max_length", "expected"), [(21, 21), (20, 20), (1, 1)])
def test_cut_end_leaves_the_head(max_length: int, expected: int) -> None:
    row = talk(1, 1, 1, 1, 1)
    assert truncated(row, max_length, "cut_end", START).ids == row.ids[:expected]
