"""Columns of numbers that grow at their end, so that a run of 100,000 steps stays cheap to hold."""

import math
from array import array
from collections.abc import Sequence


class Columns:
    """A row per step and a column per name, never changed once made.

    Growing shares the memory of the shorter columns: they keep their length and see none of the
    new rows. Only columns that did not come last out of that memory are copied first.
    """

    __slots__ = ("_length", "_stored", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._stored = {name: array("d") for name in self.names}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def value(self, name: str, index: int) -> float:
        """One number; not a number where there was none. A negative index counts from the end."""
        index += self._length if index < 0 else 0
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._stored[name][index]

    def column(self, name: str, start: int = 0) -> Sequence[float]:
        """The numbers of one column from a row on."""
        return self._stored[name][start : self._length]

    def extended(self, rows: Sequence[Sequence[float | None]]) -> "Columns":
        """These columns and more rows, each with a number per name."""
        if not rows:
            return self
        longer = self if self._is_last() else self.first(self._length)
        for row in rows:
            for name, number in zip(self.names, row, strict=True):
                longer._stored[name].append(math.nan if number is None else number)
        return self._over(longer._stored, self._length + len(rows))

    def first(self, count: int) -> "Columns":
        """A copy of the first rows."""
        count = min(count, self._length)
        return self._over({name: held[:count] for name, held in self._stored.items()}, count)

    def continues(self, other: "Columns") -> bool:
        """Whether these are the other columns and perhaps more rows."""
        return self._stored is other._stored and self._length >= other._length

    def _is_last(self) -> bool:
        return all(len(held) == self._length for held in self._stored.values())

    def _over(self, stored: dict[str, "array[float]"], length: int) -> "Columns":
        columns = Columns(())
        columns.names, columns._stored, columns._length = self.names, stored, length
        return columns
