"""A model of CUDA's caching allocator: what is reserved from the driver for a trace of blocks.

Sizes and rules are those of PyTorch's c10/cuda/CUDACachingAllocator.cpp: blocks are rounded to 512
bytes; up to 1 MiB they come from a pool of 2 MiB segments, larger ones from segments of 20 MiB, or
of their own size rounded to 2 MiB from 10 MiB on; the smallest free block that is large enough is
taken and split; neighbours that are free become one.
"""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field

MIB = 1 << 20
_ROUND_BYTES = 512
_SMALL_BYTES = 1 * MIB
_SMALL_SEGMENT_BYTES = 2 * MIB
_LARGE_SEGMENT_BYTES = 20 * MIB
_OWN_SEGMENT_BYTES = 10 * MIB
_OWN_ROUND_BYTES = 2 * MIB


@dataclass(slots=True, eq=False)
class _Chunk:
    address: int
    size: int
    is_free: bool = True
    before: "_Chunk | None" = None
    after: "_Chunk | None" = None


@dataclass(slots=True)
class _Pool:
    """Free chunks of small or of large blocks, smallest first."""

    is_small: bool
    free: list[tuple[int, int, _Chunk]] = field(default_factory=list)
    last: _Chunk | None = None
    """The end of the one segment that expands."""

    def insert(self, chunk: _Chunk) -> None:
        bisect.insort(self.free, (chunk.size, chunk.address, chunk))

    def remove(self, chunk: _Chunk) -> None:
        self.free.pop(bisect.bisect_left(self.free, (chunk.size, chunk.address)))

    def best(self, size: int) -> _Chunk | None:
        """Take out the smallest free chunk of at least `size`."""
        place = bisect.bisect_left(self.free, (size, -1))
        return self.free.pop(place)[2] if place < len(self.free) else None


class Allocator:
    """Takes blocks and gives them back; `reserved_bytes` never shrinks, as without a full card."""

    def __init__(self, *, expandable: bool) -> None:
        self.expandable = expandable
        self.reserved_bytes = 0
        self.allocated_bytes = 0
        self.peak_allocated_bytes = 0
        self._pools = {True: _Pool(True), False: _Pool(False)}
        self._chunks: dict[int, tuple[_Chunk, _Pool]] = {}
        self._next_address = 1 << 40

    def allocate(self, number: int, size_bytes: int) -> None:
        """Place a block."""
        if size_bytes == 0:
            return
        size = _up(size_bytes, _ROUND_BYTES)
        pool = self._pools[size <= _SMALL_BYTES]
        chunk = pool.best(size) or self._grown(pool, size)
        self._split(pool, chunk, size)
        chunk.is_free = False
        self._chunks[number] = (chunk, pool)
        self.allocated_bytes += chunk.size
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)

    def release(self, number: int) -> None:
        """Give a block back to its pool, joined with free neighbours."""
        chunk, pool = self._chunks.pop(number, (None, None))
        if chunk is None or pool is None:
            return
        self.allocated_bytes -= chunk.size
        chunk.is_free = True
        if chunk.before and chunk.before.is_free:
            pool.remove(chunk.before)
            chunk = _joined(pool, chunk.before, chunk)
        if chunk.after and chunk.after.is_free:
            pool.remove(chunk.after)
            chunk = _joined(pool, chunk, chunk.after)
        pool.insert(chunk)

    def _split(self, pool: _Pool, chunk: _Chunk, size: int) -> None:
        rest = chunk.size - size
        least = _ROUND_BYTES if self.expandable or pool.is_small else _SMALL_BYTES + 1
        if rest < least:
            return
        other = _Chunk(chunk.address + size, rest, before=chunk, after=chunk.after)
        if other.after:
            other.after.before = other
        elif pool.last is chunk:
            pool.last = other
        chunk.after, chunk.size = other, size
        pool.insert(other)

    def _grown(self, pool: _Pool, size: int) -> _Chunk:
        if not self.expandable:
            return self._segment(_segment_bytes(size))
        page = _SMALL_SEGMENT_BYTES if pool.is_small else _LARGE_SEGMENT_BYTES
        end = pool.last
        if end and end.is_free:
            pool.remove(end)
            added = _up(size - end.size, page)
            end.size += added
            self.reserved_bytes += added
            return end
        fresh = self._segment(_up(size, page))
        if end:
            fresh.address = end.address + end.size
            fresh.before, end.after = end, fresh
        pool.last = fresh
        return fresh

    def _segment(self, size: int) -> _Chunk:
        chunk = _Chunk(self._next_address, size)
        self._next_address += 1 << 44 if self.expandable else _up(size, MIB) + 4 * MIB
        self.reserved_bytes += size
        return chunk


def _joined(pool: _Pool, left: _Chunk, right: _Chunk) -> _Chunk:
    left.size += right.size
    left.after = right.after
    if right.after:
        right.after.before = left
    if pool.last is right:
        pool.last = left
    return left


def _segment_bytes(size: int) -> int:
    if size <= _SMALL_BYTES:
        return _SMALL_SEGMENT_BYTES
    return _LARGE_SEGMENT_BYTES if size < _OWN_SEGMENT_BYTES else _up(size, _OWN_ROUND_BYTES)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def reserved_bytes(
    trace: Iterable[int],
    sizes: list[int],
    permanent: Iterable[int] = (),
    *,
    expandable: bool = True,
) -> int:
    """Most bytes reserved while a trace is replayed; `permanent` blocks are there throughout.

    A trace holds a block's number where it was made and the number's complement where it died.
    """
    allocator = Allocator(expandable=expandable)
    for place, size in enumerate(permanent):
        allocator.allocate(-1 - place, size)
    for event in trace:
        if event >= 0:
            allocator.allocate(event, sizes[event])
        else:
            allocator.release(~event)
    return allocator.reserved_bytes
