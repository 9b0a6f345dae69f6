"""The model of CUDA's caching allocator, rule by rule."""

import random

import pytest

from tools.simulator.allocator import MIB, Allocator, reserved_bytes

KIB = 1024


def taken(*sizes: int, expandable: bool = False) -> Allocator:
    allocator = Allocator(expandable=expandable)
    for number, size in enumerate(sizes):
        allocator.allocate(number, size)
    return allocator


@pytest.mark.parametrize(
    ("size", "reserved"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB),
        (100 * MIB + 1, 102 * MIB),
    ],
)
def test_a_block_reserves_the_segment_of_its_size(size: int, reserved: int) -> None:
    assert taken(size).reserved_bytes == reserved


def test_blocks_are_rounded_to_512_bytes() -> None:
    assert taken(1, 513).allocated_bytes == 512 + 1024


def test_nothing_is_reserved_for_nothing() -> None:
    assert taken(0).reserved_bytes == 0


def test_small_and_large_blocks_share_no_segment() -> None:
    assert taken(512, 2 * MIB).reserved_bytes == 22 * MIB


def test_the_rest_of_a_segment_is_used() -> None:
    assert taken(5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB).reserved_bytes == 20 * MIB


def test_the_smallest_block_that_fits_is_taken() -> None:
    """Two gaps: the larger one stays whole for the block that needs it."""
    allocator = taken(12 * MIB, 30 * MIB)
    allocator.release(0)
    allocator.release(1)
    allocator.allocate(2, 12 * MIB)
    allocator.allocate(3, 30 * MIB)
    assert allocator.reserved_bytes == 42 * MIB


def test_a_large_block_is_split_only_where_more_than_a_mib_is_left() -> None:
    allocator = taken(12 * MIB)
    allocator.release(0)
    allocator.allocate(1, 11 * MIB)
    assert allocator.allocated_bytes == 12 * MIB
    other = taken(14 * MIB)
    other.release(0)
    other.allocate(1, 11 * MIB)
    assert other.allocated_bytes == 11 * MIB


def test_neighbours_become_one() -> None:
    allocator = taken(5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB)
    for number in (0, 2, 1, 3):
        allocator.release(number)
    allocator.allocate(4, 20 * MIB)
    assert allocator.reserved_bytes == 20 * MIB


def test_growing_rows_leave_gaps_unless_segments_expand() -> None:
    """Each row is a little longer than the last and fits into no gap before it."""
    trace, sizes = [], [(20 + 3 * step) * MIB for step in range(20)]
    for number in range(len(sizes)):
        trace += [number, ~number]
    largest = max(sizes)
    assert reserved_bytes(trace, sizes, expandable=True) <= largest + 20 * MIB
    assert reserved_bytes(trace, sizes, expandable=False) > 5 * largest


@pytest.mark.parametrize("expandable", [False, True])
def test_no_trace_breaks_the_books(expandable: bool) -> None:
    """After any order of blocks and releases nothing is allocated, and all of it fits again."""
    dice = random.Random(7)
    allocator, live, sizes = Allocator(expandable=expandable), [], {}
    for number in range(3000):
        sizes[number] = dice.choice([300, 40 * KIB, 900 * KIB, 3 * MIB, 15 * MIB, 70 * MIB])
        allocator.allocate(number, sizes[number])
        live.append(number)
        if len(live) > 40:
            allocator.release(live.pop(dice.randrange(len(live))))
        assert allocator.allocated_bytes <= allocator.reserved_bytes
    for number in live:
        allocator.release(number)
    assert allocator.allocated_bytes == 0
    reserved = allocator.reserved_bytes
    allocator.allocate(-1, 70 * MIB)
    assert allocator.reserved_bytes == reserved
