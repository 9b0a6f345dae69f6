"""The canvas writes the cells that differ and no others."""

import random
from collections.abc import Sequence

from textual.geometry import Region

from workbench.widgets.canvas import Row, changed


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
