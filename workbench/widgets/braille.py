"""Curves as characters: eight braille dots to a cell, or plain ASCII marks."""

from collections.abc import Sequence
from functools import lru_cache

from workbench.run_view.axis import Scale

DOTS_X, DOTS_Y = 2, 4
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_STROKES = [
    [
        [sum(_BITS[y][x] for y in range(top, low + 1)) for low in range(DOTS_Y)]
        for top in range(DOTS_Y)
    ]
    for x in range(DOTS_X)
]
"""The bits of a cell from a dot down to another, by column."""
_ASCII_BY_DOT = "'\"-."
"""One mark per height of a dot in its cell."""
LEVEL_INK, BOUND_INK, BAND_INK = "strong", "warn", "band"
_ASCII_BY_INK = {BAND_INK: ":", LEVEL_INK: "=", BOUND_INK: "~"}
Values = Sequence[float | None]
"""One per column of dots; None where there is none, not a number where it was lost."""


class Raster:
    """A grid of dots in layers, each named by its ink; the first one that was drawn lies on top."""

    def __init__(self, columns: int, height: int, scale: Scale) -> None:
        self._columns, self._height, self._scale = columns, height, scale
        self._layers: dict[str, _Dots] = {}

    def line(self, ink: str, values: Values) -> None:
        """A stroke from value to value; it breaks off where one was lost."""
        dots, last = self._layer(ink), None
        for x, value in enumerate(values):
            if value is None:
                continue
            if value != value:
                last = None
                continue
            y = self._dot(value)
            dots.draw(last or (x, y), (x, y))
            last = (x, y)

    def band(self, ink: str, ranges: Sequence[tuple[float, float] | None]) -> None:
        """A vertical stroke per column, from its low to its high value."""
        dots = self._layer(ink)
        for x, limits in enumerate(ranges):
            if limits is not None:
                dots.fill(x, self._dot(limits[1]), self._dot(limits[0]))

    def dashes(self, ink: str, values: Values) -> None:
        """Every other cell of a line; what is beyond the scale's ends is left out."""
        dots = self._layer(ink)
        for x, value in enumerate(values):
            is_odd = x // DOTS_X % 2
            if is_odd and value is not None and self._scale.low <= value <= self._scale.high:
                dots.fill(x, self._dot(value), self._dot(value))

    def plot(self, *, is_ascii: bool) -> list[tuple[list[str], list[str]]]:
        """The layers as rows of characters, and the ink of each."""
        names = tuple(self._layers)
        rows = []
        for layers in zip(*(dots.cells for dots in self._layers.values()), strict=True):
            cells = [_cell(names, stack, is_ascii) for stack in zip(*layers, strict=True)]
            rows.append(([mark for mark, _ in cells], [ink for _, ink in cells]))
        return rows

    def _layer(self, ink: str) -> "_Dots":
        return self._layers.setdefault(ink, _Dots(self._columns, self._height))

    def _dot(self, value: float) -> int:
        top = self._height * DOTS_Y - 1
        return round((1 - self._scale.share(value)) * top)


class _Dots:
    """A grid of dots, held as one set of bits per cell."""

    def __init__(self, columns: int, height: int) -> None:
        self.cells = [[0] * ((columns + 1) // DOTS_X) for _ in range(height)]

    def fill(self, x: int, top: int, bottom: int) -> None:
        """A vertical stroke."""
        at, strokes = x // DOTS_X, _STROKES[x % DOTS_X]
        for row in range(top // DOTS_Y, bottom // DOTS_Y + 1):
            first, last = max(0, top - row * DOTS_Y), min(DOTS_Y - 1, bottom - row * DOTS_Y)
            self.cells[row][at] |= strokes[first][last]

    def draw(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """A stroke from a point to one that is not to its left."""
        (x0, y0), (x1, y1) = start, end
        previous = y0
        for x in range(x0, x1 + 1):
            y = y1 if x1 == x0 else round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
            self.fill(x, min(previous, y), max(previous, y))
            previous = y


@lru_cache(maxsize=4096)
def _cell(names: tuple[str, ...], stack: tuple[int, ...], is_ascii: bool) -> tuple[str, str]:
    """Mark and ink of the dots of each layer; few of all that can be do come."""
    ink, bits = _topmost(dict(zip(names, stack, strict=True)))
    return _mark(bits, ink, is_ascii=is_ascii), ink


def _topmost(cell: dict[str, int]) -> tuple[str, int]:
    """A level that meets a curve in a cell shows in it, or a good forecast would be none."""
    ink = next((ink for ink, bits in cell.items() if bits), BAND_INK)
    is_curve = ink not in _ASCII_BY_INK
    return ink, cell.get(ink, 0) | (cell.get(LEVEL_INK, 0) if is_curve else 0)


def _mark(bits: int, ink: str, *, is_ascii: bool) -> str:
    if not bits:
        return " "
    if not is_ascii:
        return chr(0x2800 + bits)
    if ink in _ASCII_BY_INK:
        return _ASCII_BY_INK[ink]
    if ink.startswith("run "):
        return ink[-1]
    rows = [y for y, pair in enumerate(_BITS) if bits & (pair[0] | pair[1])]
    return "|" if len(rows) > 2 else _ASCII_BY_DOT[rows[len(rows) // 2]]
