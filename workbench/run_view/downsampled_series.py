"""One series in buckets of neighbouring steps, each with its sum, least and greatest value."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import isfinite
from operator import add

_MOST_VALUE = 1e100
"""Beyond it a value is no figure of a run, and sums would overflow."""

Place = tuple[int, int, int]
"""A bucket, and the rows from one up to another that belong into it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some neighbouring steps of a series."""

    count: int
    """Steps with a finite value."""
    total: float
    least: float
    greatest: float
    num_lost: int
    """Steps whose value was no finite number."""

    @property
    def mean(self) -> float:
        """Not a number where no step had a finite value."""
        return self.total / self.count if self.count else math.nan


class Buckets:
    """Flat arrays, one place per bucket, so that a copy costs next to nothing."""

    __slots__ = ("_greatest", "_least", "_lost", "_totals")

    def __init__(self) -> None:
        self._totals = array("d")
        self._least = array("d")
        self._greatest = array("d")
        self._lost = array("q")

    def copy(self) -> "Buckets":
        """The same figures in memory of their own."""
        twin = Buckets()
        twin._totals, twin._least = self._totals[:], self._least[:]
        twin._greatest, twin._lost = self._greatest[:], self._lost[:]
        return twin

    def cut(self, length: int) -> None:
        """Drop the buckets from a place on."""
        for held in (self._totals, self._least, self._greatest, self._lost):
            del held[length:]

    def take(self, values: Sequence[float], places: Sequence[Place]) -> None:
        """Take values in, one after the other, so that batches don't matter."""
        self._grow(max(place for place, _, _ in places) + 1)
        totals, leasts, greatests = self._totals, self._least, self._greatest
        for place, start, stop in places:
            part = values[start:stop]
            total = reduce(add, part, totals[place])
            least, greatest = min(part), max(part)
            if least >= -_MOST_VALUE and greatest <= _MOST_VALUE and isfinite(total):
                totals[place] = total
                if least < leasts[place]:
                    leasts[place] = least
                if greatest > greatests[place]:
                    greatests[place] = greatest
            else:
                self._take_finite(place, part)

    def _take_finite(self, place: int, values: Sequence[float]) -> None:
        finite = [value for value in values if abs(value) <= _MOST_VALUE]
        self._lost[place] += len(values) - len(finite)
        self._totals[place] = reduce(add, finite, self._totals[place])
        self._least[place] = min((self._least[place], *finite))
        self._greatest[place] = max((self._greatest[place], *finite))

    def _grow(self, length: int) -> None:
        more = max(0, length - len(self._totals))
        self._totals.extend([0.0] * more)
        self._least.extend([math.inf] * more)
        self._greatest.extend([-math.inf] * more)
        self._lost.extend([0] * more)

    def halve(self) -> None:
        """Each two neighbours become one."""
        pairs = range(0, len(self._totals), 2)
        self._totals = array("d", [sum(self._totals[at : at + 2]) for at in pairs])
        self._least = array("d", [min(self._least[at : at + 2]) for at in pairs])
        self._greatest = array("d", [max(self._greatest[at : at + 2]) for at in pairs])
        self._lost = array("q", [sum(self._lost[at : at + 2]) for at in pairs])

    def joined(self, start: int, end: int, num_steps: int) -> Bucket:
        """The buckets from a place to another, which hold so many steps, as one."""
        lost = sum(self._lost[start:end])
        return Bucket(
            num_steps - lost,
            sum(self._totals[start:end]),
            min(self._least[start:end]),
            max(self._greatest[start:end]),
            lost,
        )

    def means(self, counts: Sequence[int]) -> list[float]:
        """The mean of each bucket, which holds so many steps; not a number where all are lost."""
        finite = (count - lost for count, lost in zip(counts, self._lost, strict=True))
        return [
            total / count if count else math.nan
            for total, count in zip(self._totals, finite, strict=True)
        ]
