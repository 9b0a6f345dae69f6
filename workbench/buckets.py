"""A growing series held in at most a thousand buckets, each with its mean, least and greatest."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST = 1024


@dataclass(slots=True)
class Bucket:
    """Some neighbouring steps of a series."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    greatest: float = -math.inf
    num_lost: int = 0
    """Steps whose value was no finite number."""

    @property
    def mean(self) -> float | None:
        """None where no step had a finite value."""
        return self.total / self.count if self.count else None

    def add(self, value: float) -> None:
        """Take in one step."""
        if not math.isfinite(value):
            self.num_lost += 1
            return
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)

    def merge(self, other: "Bucket") -> None:
        """Take in another bucket."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)
        self.num_lost += other.num_lost


class Buckets:
    """The series so far; what it holds depends on its points only, not on how they came in."""

    def __init__(self) -> None:
        self._held: list[Bucket | None] = []
        self._span = 1
        self.last_step = 0

    def extend(self, steps: Iterable[float], values: Iterable[float]) -> None:
        """Add points; a step is a whole number that grows."""
        for number, value in zip(steps, values, strict=True):
            step = int(number)
            while step // self._span >= _MOST:
                self._widen()
            place = step // self._span
            self._held.extend([None] * (place + 1 - len(self._held)))
            bucket = self._held[place]
            if bucket is None:
                bucket = self._held[place] = Bucket()
            bucket.add(value)
            self.last_step = step

    def columns(self, end: int, width: int) -> list[Bucket | None]:
        """The steps from 0 to `end` over so many columns; None where a column has no step."""
        columns: list[Bucket | None] = [None] * width
        for place, bucket in enumerate(self._held):
            if bucket is None:
                continue
            at = min(width - 1, place * self._span * width // (end + 1))
            known = columns[at]
            if known is None:
                known = columns[at] = Bucket()
            known.merge(bucket)
        return columns

    def limits(self) -> tuple[float, float] | None:
        """Least and greatest value; None before the first finite one."""
        found = [bucket for bucket in self._held if bucket and bucket.count]
        if not found:
            return None
        return min(b.least for b in found), max(b.greatest for b in found)

    def _widen(self) -> None:
        halves = self._held
        self._held = []
        self._span *= 2
        for place in range(0, len(halves), 2):
            first, *rest = halves[place : place + 2]
            for second in rest:
                first = _merged(first, second)
            self._held.append(first)


def _merged(first: Bucket | None, second: Bucket | None) -> Bucket | None:
    if first is None or second is None:
        return first or second
    first.merge(second)
    return first
