"""A curve as characters: eight braille dots to a cell, or plain ASCII marks."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.buckets import Bucket

DOTS_X, DOTS_Y = 2, 4
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ASCII_BY_DOT = "'\"-."
"""One mark per height of a dot in its cell."""
LEVEL_INK = "strong"
_ASCII_BY_INK = {"band": ":", LEVEL_INK: "="}


@dataclass(frozen=True, slots=True)
class Plot:
    """Cells of a curve: characters, and the ink of each."""

    marks: list[str]
    inks: list[list[str]]


def plot(
    columns: Sequence[Bucket | None],
    low: float,
    high: float,
    height: int,
    *,
    is_ascii: bool,
    level: float | None = None,
) -> Plot:
    """The curve of the means over a band from least to greatest, two columns to a cell.

    A level is a dashed line from side to side.
    """
    top = height * DOTS_Y - 1

    def dot(value: float) -> int:
        return max(0, min(top, round((high - value) / (high - low) * top)))

    line, band = _Dots(len(columns), height), _Dots(len(columns), height)
    last: tuple[int, int] | None = None
    for x, bucket in enumerate(columns):
        if bucket is None:
            continue
        mean = bucket.mean
        if mean is None:
            last = None
            continue
        band.fill(x, dot(bucket.greatest), dot(bucket.least))
        y = dot(mean)
        line.draw(last or (x, y), (x, y))
        last = (x, y)
    dashes = _Dots(len(columns), height)
    if level is not None:
        for x in range(len(columns)):
            if x // DOTS_X % 2:
                dashes.fill(x, dot(level), dot(level))
    return _merged({"accent": line, LEVEL_INK: dashes, "band": band}, is_ascii=is_ascii)


class _Dots:
    """A grid of dots, held as one set of bits per cell."""

    def __init__(self, columns: int, height: int) -> None:
        self.cells = [[0] * ((columns + 1) // DOTS_X) for _ in range(height)]

    def fill(self, x: int, top: int, bottom: int) -> None:
        """A vertical stroke."""
        for y in range(top, bottom + 1):
            self.cells[y // DOTS_Y][x // DOTS_X] |= _BITS[y % DOTS_Y][x % DOTS_X]

    def draw(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """A stroke from a point to one that is not to its left."""
        (x0, y0), (x1, y1) = start, end
        previous = y0
        for x in range(x0, x1 + 1):
            y = y1 if x1 == x0 else round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
            self.fill(x, min(previous, y), max(previous, y))
            previous = y


def _merged(layers: dict[str, _Dots], *, is_ascii: bool) -> Plot:
    """Each cell shows the first layer that has a dot in it; layers are named by their ink."""
    marks, inks = [], []
    for rows in zip(*(dots.cells for dots in layers.values()), strict=True):
        cells = (dict(zip(layers, stack, strict=True)) for stack in zip(*rows, strict=True))
        found = [_topmost(cell) for cell in cells]
        marks.append("".join(_mark(bits, ink, is_ascii=is_ascii) for ink, bits in found))
        inks.append([ink for ink, _ in found])
    return Plot(marks, inks)


def _topmost(cell: dict[str, int]) -> tuple[str, int]:
    """A level that meets the curve in a cell shows in it, or a good forecast would be none."""
    ink = next((ink for ink, bits in cell.items() if bits), "band")
    return ink, cell[ink] | (cell[LEVEL_INK] if ink == "accent" else 0)


def _mark(bits: int, ink: str, *, is_ascii: bool) -> str:
    if not bits:
        return " "
    if not is_ascii:
        return chr(0x2800 + bits)
    if ink in _ASCII_BY_INK:
        return _ASCII_BY_INK[ink]
    rows = [y for y, pair in enumerate(_BITS) if bits & (pair[0] | pair[1])]
    return "|" if len(rows) > 2 else _ASCII_BY_DOT[rows[len(rows) // 2]]
