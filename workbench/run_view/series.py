"""Series over the steps of a run, in at most two thousand buckets however long the run is."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import isfinite
from operator import add
from typing import Any, cast

_MAX_BUCKETS = 2048
_STEP = "step"
"""The series of the steps themselves: how many each bucket has, and the first of them."""
_MAX_METRICS = 64
"""More than a run has: damage might name others at every step."""
_MAX_VALUE = 1e100
"""Beyond it a value is no figure of a run, and sums would overflow."""

Floats = Sequence[float]
Values = Sequence[float | None]
"""One per step; None where it was not measured, not a number where it was none."""
Numbers = Mapping[str, Values]
"""Values of steps that grow, by metric, with `step` among them."""
Slice = tuple[int, int, int]
"""A bucket, and the steps of some numbers from one up to another that belong into it."""


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


class DownsampledSeries:
    """One metric: flat arrays with an item per bucket, so that a copy costs next to nothing."""

    __slots__ = ("_arrays",)

    def __init__(self) -> None:
        self._arrays = [array(kind) for kind, _, _ in _ARRAYS]

    def copy(self) -> "DownsampledSeries":
        """The same figures in memory of their own."""
        twin = DownsampledSeries()
        twin._arrays = [values[:] for values in self._arrays]
        return twin

    def cut(self, length: int) -> None:
        """Drop the buckets from an index on."""
        for values in self._arrays:
            del values[length:]

    def take(self, values: Values, slices: Sequence[Slice]) -> None:
        """Take values in, one after the other, so that batches don't matter."""
        self._grow(max(bucket for bucket, _, _ in slices) + 1)
        is_sparse = None in values
        for bucket, start, stop in slices:
            part = values[start:stop]
            measured = [v for v in part if v is not None] if is_sparse else cast(Floats, part)
            if measured:
                self._take(bucket, measured)

    def _take(self, bucket: int, part: Sequence[float]) -> None:
        arrays: list[Any] = self._arrays
        totals, leasts, greatests, counts, lost = arrays
        total = reduce(add, part, totals[bucket])
        least, greatest = min(part), max(part)
        if not (least >= -_MAX_VALUE and greatest <= _MAX_VALUE and isfinite(total)):
            finite = [value for value in part if abs(value) <= _MAX_VALUE]
            lost[bucket] += len(part) - len(finite)
            part, total = finite, reduce(add, finite, totals[bucket])
            least, greatest = min(part, default=math.inf), max(part, default=-math.inf)
        totals[bucket] = total
        counts[bucket] += len(part)
        leasts[bucket] = min(leasts[bucket], least)
        greatests[bucket] = max(greatests[bucket], greatest)

    @property
    def counts(self) -> Sequence[int]:
        """Finite values of each bucket."""
        return self._arrays[3]

    @property
    def leasts(self) -> Sequence[float]:
        """The least of each bucket."""
        return self._arrays[1]

    @property
    def overall_least(self) -> float | None:
        """The least finite value of any step; None where there is none."""
        least = min(self.leasts, default=math.inf)
        return least if isfinite(least) else None

    def _grow(self, length: int) -> None:
        for values, (_, empty, _) in zip(self._arrays, _ARRAYS, strict=True):
            values.extend([empty] * (length - len(values)))

    def halve(self) -> None:
        """Make one bucket of each two neighbours."""
        joins = (join for _, _, join in _ARRAYS)
        pairs = range(0, len(self.counts), 2)
        self._arrays = [
            array(values.typecode, [join(values[i : i + 2]) for i in pairs])
            for values, join in zip(self._arrays, joins, strict=True)
        ]

    def joined(self, start: int, end: int) -> Bucket | None:
        """The buckets from an index up to another as one; None where nothing was measured."""
        totals, leasts, greatests, counts, losts = (values[start:end] for values in self._arrays)
        count, lost = sum(counts), sum(losts)
        if not count + lost:
            return None
        return Bucket(count, sum(totals), min(leasts), max(greatests), lost)

    def means(self) -> list[float | None]:
        """The mean of each bucket: not a number where all values are lost, None where none is."""
        totals, _, _, counts, losts = self._arrays
        return [
            total / count if count else (math.nan if lost else None)
            for total, count, lost in zip(totals, counts, losts, strict=True)
        ]


_ARRAYS: tuple[tuple[str, Any, Callable[[Sequence[Any]], Any]], ...] = (
    ("d", 0.0, sum), ("d", math.inf, min), ("d", -math.inf, max), ("q", 0, sum), ("q", 0, sum),
)  # fmt: skip
"""Totals, least and greatest values, counts, lost ones: kind of number, when empty, as one."""


class StepSeries:
    """All series of a run, never changed once made; what they hold depends on the steps only.

    A bucket is one step while the run is short. Each time the run outgrows the buckets, two
    neighbours become one. A metric may come with any step, and be missing from others.
    """

    __slots__ = ("_last", "_series", "_span", "last_step")

    def __init__(self) -> None:
        self.last_step = -1
        self._span = 1
        self._series = {_STEP: DownsampledSeries()}
        self._last: dict[str, float] = {}

    def __len__(self) -> int:
        """Steps that are held; where a run was resumed in mid-bucket, a few of them twice."""
        return sum(self._series[_STEP].counts)

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that some step had."""
        return tuple(name for name in self._series if name != _STEP)

    def last(self, name: str) -> float | None:
        """The latest figure: None before the first, not a number where it was none."""
        return self._last.get(name)

    def least(self, name: str) -> float | None:
        """The least finite figure of any step; None where there is none."""
        return self._series[name].overall_least if name in self._series else None

    def means(self, name: str) -> tuple[list[int], list[float]]:
        """First step and mean of each bucket that has a value, even one that is no number."""
        means = self._series[name].means() if name in self._series else []
        pairs = [
            (int(f), m)
            for f, m in zip(self._series[_STEP].leasts, means, strict=False)
            if m is not None
        ]
        return [first for first, _ in pairs], [mean for _, mean in pairs]

    def curve(self, name: str, first: int, last: int, width: int) -> list[Bucket | None]:
        """A series between two steps over so many columns; None where a column has no value."""
        size, length = last + 1 - first, len(self._series[_STEP].counts)
        starts = (first * width + column * size for column in range(width + 1))
        edges = [min(length, -(-start // (self._span * width))) for start in starts]
        return [self._joined(name, start, stop) for start, stop in pairwise(edges)]

    def at(self, name: str, step: int) -> Bucket | None:
        """A series at a step, or around it in a long run; None where it has no value."""
        bucket = step // self._span
        return self._joined(name, bucket, bucket + 1)

    def _joined(self, name: str, start: int, stop: int) -> Bucket | None:
        series = self._series.get(name)
        return series.joined(start, stop) if series and start < stop else None

    def extended(self, parts: Iterable[Numbers]) -> "StepSeries":
        """These and more steps, in parts of steps that grow.

        Where the first of a part is not new, as after a resumption, it replaces what followed it.
        Of a bucket that began before it all is kept: what it is made of is not known any more.
        """
        longer = self._copy()
        for numbers in parts:
            longer._take(numbers)
        return longer

    def _take(self, numbers: Numbers) -> None:
        steps: Sequence[float] = [step or 0.0 for step in numbers["step"]]
        self._cut(int(steps[0]))
        start = 0
        while start < len(steps):
            while steps[start] // self._span >= _MAX_BUCKETS:
                self._widen()
            end = bisect_left(steps, _MAX_BUCKETS * self._span, start)
            slices = list(self._sliced(steps, start, end))
            for name in numbers:
                if name in self._series or len(self._series) <= _MAX_METRICS:
                    series = self._series.setdefault(name, DownsampledSeries())
                    series.take(numbers[name], slices)
            start = end
        self.last_step = int(steps[-1])
        latest = {
            name: next(filter(_is_measured, reversed(v)), None) for name, v in numbers.items()
        }
        self._last |= {
            name: value
            for name, value in latest.items()
            if value is not None and name in self._series
        }

    def _sliced(self, steps: Sequence[float], start: int, end: int) -> Iterator[Slice]:
        """Where some steps belong; all fit into the buckets."""
        while start < end:
            bucket = int(steps[start]) // self._span
            stop = bisect_left(steps, (bucket + 1) * self._span, start, end)
            yield bucket, start, stop
            start = stop

    def _cut(self, step: int) -> None:
        if step > self.last_step:
            return
        self._last = {}
        length, firsts = step // self._span, self._series[_STEP].leasts
        length += length < len(firsts) and firsts[length] < step
        for series in self._series.values():
            series.cut(length)

    def _widen(self) -> None:
        for series in self._series.values():
            series.halve()
        self._span *= 2

    def _copy(self) -> "StepSeries":
        twin = StepSeries()
        twin.last_step, twin._span = self.last_step, self._span
        twin._series = {name: series.copy() for name, series in self._series.items()}
        twin._last = dict(self._last)
        return twin


def _is_measured(value: float | None) -> bool:
    return value is not None
