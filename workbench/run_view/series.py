"""Series over the steps of a run, in at most two thousand buckets however long the run is."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from engine.events.step_blocks import Numbers
from workbench.run_view.downsampled_series import Bucket, Buckets, Place

_MOST = 2048


class Columns:
    """A series per name, never changed once made; what they hold depends on the steps only.

    A bucket is one step while the run is short. Each time the run outgrows the buckets, two
    neighbours become one.
    """

    __slots__ = ("_counts", "_firsts", "_held", "_last", "_span", "last_step", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.last_step = -1
        self._span = 1
        self._counts, self._firsts = array("q"), array("d")
        """Steps of each bucket, and the first of them."""
        self._held = {name: Buckets() for name in self.names}
        self._last = dict.fromkeys(self.names, math.nan)

    def __len__(self) -> int:
        """Steps that are held; where a run was resumed in mid-bucket, a few of them twice."""
        return sum(self._counts)

    def last(self, name: str) -> float:
        """The latest number of a series; not a number where there was none."""
        return self._last[name]

    def means(self, name: str) -> tuple[list[int], list[float]]:
        """First step and mean of each bucket; not a number where no step had a finite value."""
        pairs = zip(self._firsts, self._counts, self._held[name].means(self._counts), strict=True)
        found = [(int(first), mean) for first, count, mean in pairs if count]
        return [first for first, _ in found], [mean for _, mean in found]

    def curve(self, name: str, first: int, last: int, width: int) -> list[Bucket | None]:
        """A series between two steps over so many columns; None where a column has no step."""
        size, length = last + 1 - first, len(self._counts)
        starts = (first * width + at * size for at in range(width + 1))
        edges = [min(length, -(-start // (self._span * width))) for start in starts]
        return [self._joined(name, start, stop) for start, stop in pairwise(edges)]

    def at(self, name: str, step: int) -> Bucket | None:
        """A series at a step, or around it in a long run; None where there is no step."""
        place = step // self._span
        return self._joined(name, place, place + 1) if place < len(self._counts) else None

    def _joined(self, name: str, start: int, stop: int) -> Bucket | None:
        num_steps = sum(self._counts[start:stop]) if start < stop else 0
        return self._held[name].joined(start, stop, num_steps) if num_steps else None

    def extended(self, parts: Iterable[Numbers]) -> "Columns":
        """These and more steps, in parts of steps that grow, by name and `step`.

        Where the first of a part is not new, as after a resumption, it replaces what followed it.
        Of a bucket that began before it all is kept: what it is made of is not known any more.
        """
        longer = self._copy()
        for numbers in parts:
            longer._take(numbers)
        return longer

    def _take(self, numbers: Numbers) -> None:
        steps = numbers["step"]
        self._cut(int(steps[0]))
        start = 0
        while start < len(steps):
            while steps[start] // self._span >= _MOST:
                self._widen()
            end = bisect_left(steps, _MOST * self._span, start)
            places = list(self._placed(steps, start, end))
            for name, held in self._held.items():
                held.take(numbers[name], places)
            start = end
        self.last_step = int(steps[-1])
        self._last = {name: numbers[name][-1] for name in self.names}

    def _placed(self, steps: Sequence[float], start: int, end: int) -> Iterator[Place]:
        """Where the steps of some rows belong, counted there; all fit into the buckets."""
        while start < end:
            place = int(steps[start]) // self._span
            stop = bisect_left(steps, (place + 1) * self._span, start, end)
            self._grow(place, steps[start])
            self._counts[place] += stop - start
            yield place, start, stop
            start = stop

    def _grow(self, place: int, step: float) -> None:
        more = place + 1 - len(self._counts)
        if more > 0:
            self._counts.extend([0] * more)
            self._firsts.extend([math.inf] * more)
        self._firsts[place] = min(self._firsts[place], step)

    def _cut(self, step: int) -> None:
        length = step // self._span
        if step > self.last_step or length >= len(self._counts):
            return
        length += self._firsts[length] < step
        del self._counts[length:], self._firsts[length:]
        for held in self._held.values():
            held.cut(length)

    def _widen(self) -> None:
        pairs = range(0, len(self._counts), 2)
        self._counts = array("q", [sum(self._counts[at : at + 2]) for at in pairs])
        self._firsts = array("d", [min(self._firsts[at : at + 2]) for at in pairs])
        for held in self._held.values():
            held.halve()
        self._span *= 2

    def _copy(self) -> "Columns":
        twin = Columns(())
        twin.names, twin.last_step, twin._span = self.names, self.last_step, self._span
        twin._counts, twin._firsts = self._counts[:], self._firsts[:]
        twin._held = {name: held.copy() for name, held in self._held.items()}
        twin._last = self._last
        return twin
