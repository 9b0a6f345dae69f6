"""The memory pane, as rows of text."""

from dataclasses import replace

import pytest

from engine.budget.forecast import Band, Budget, Row
from workbench.text import budget_page
from workbench.text.styled import plain

ROWS = tuple(
    Row(part, gib, "")
    for part, gib in (("LoRA", 0.5), ("weights", 4.0), ("batch", 0.001), ("head", 1.0))
)
BAND = Band(5.0, 5.5, 6.0)
BUDGET = Budget(
    allocated=BAND, reserved=BAND, device=BAND, usable_gib=11.0, host_gib=2.5,
    host_usable_gib=20.0, disk_gib=0.25, peak_moment="head backward", rows=ROWS,
)  # fmt: skip


def drawn(budget: Budget, *, size: tuple[int, int] = (40, 9), is_ascii: bool = False) -> list[str]:
    rows = budget_page.pane(budget, *size, is_ascii=is_ascii)
    return [plain(row).rstrip() for row in rows]


def inks(budget: Budget) -> set[str]:
    return {ink for text, ink in budget_page.pane(budget, 40, 9, is_ascii=False)[1] if text}


def test_all_of_it() -> None:
    assert drawn(BUDGET) == [
        "estimated",
        "█████████████████░░░░░░░░░░░░░░░░│",
        "5.50 of 11.00 GiB usable: it fits",
        "highest in head backward",
        "weights   4.00 GiB",
        "head      1.00 GiB",
        "LoRA      0.50 GiB",
        "host 2.5 of 20.0 GiB   disk 0.25 GiB",
    ]


def test_what_has_no_room_is_one_row() -> None:
    rest = ["weights        4.00 GiB", "2 parts more   1.50 GiB"]
    assert drawn(BUDGET, size=(40, 7))[3:6] == ["highest in head backward", *rest]
    assert drawn(BUDGET, size=(40, 6))[3:5] == rest
    assert drawn(BUDGET, size=(40, 5))[3] == "weights   4.00 GiB"
    for height in range(4, 8):
        rows = drawn(BUDGET, size=(40, height))
        assert (len(rows), rows[-1][:4]) == (height, "host")


def test_two_columns_where_it_is_wide() -> None:
    rows = drawn(BUDGET, size=(60, 9))
    assert rows[4] == "weights   4.00 GiB   head      1.00 GiB"


@pytest.mark.parametrize(
    ("usable_gib", "bar"),
    [
        (5.5, "#" * 33 + "|"),
        (5.0, "#" * 33 + "|####"),
        (1.0, "#" * 33 + "|######"),
        (0.0, "#" * 33 + "|######"),
    ],
)
def test_the_bar_goes_on_over_its_end(usable_gib: float, bar: str) -> None:
    rows = drawn(replace(BUDGET, usable_gib=usable_gib), is_ascii=True)
    assert rows[1] == bar
    assert "doesn't fit" in rows[2] or usable_gib == 5.5


def test_the_free_part_in_ascii() -> None:
    assert drawn(BUDGET, is_ascii=True)[1] == "#" * 17 + "-" * 16 + "|"


@pytest.mark.parametrize(
    ("changed", "ink"),
    [
        ({}, "good"),
        ({"usable_gib": 5.8}, "warn"),
        ({"usable_gib": 5.0}, "bad"),
        ({"host_usable_gib": 2.0}, "bad"),
    ],
)
def test_each_verdict_has_its_ink(changed: dict[str, float], ink: str) -> None:
    found = inks(replace(BUDGET, **changed)) - {"band", "strong"}
    assert found == {ink}


def test_a_host_of_unknown_memory() -> None:
    rows = drawn(replace(BUDGET, host_usable_gib=float("inf")))
    assert rows[-1] == "host 2.5 GiB   disk 0.25 GiB"
