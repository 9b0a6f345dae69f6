"""Lines read many at a time: nothing is told otherwise than line by line."""

import itertools
import json
import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from flat_steps import changed
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from recording import opening, steps, told

from engine.events import Event, decode, decode_all, encode
from workbench.run_view.run_state import RunState

many = hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
STEP = next(steps(1, 10))
RECORD = json.loads(encode(STEP))
PLAIN = encode(STEP).rstrip()
NEXT = encode(changed(STEP, step=2)).rstrip()

figures = st.sampled_from([0.5, 2.25, 1, 7, None, math.nan, math.inf, 1e200, -1e200, -3.5])
at = st.one_of(st.integers(0, 60), st.integers(0, 6_000), st.integers(0, 10**6))
taken = st.builds(
    lambda step, loss, rss_gib, seconds: changed(
        STEP, step=step, loss=loss, rss_gib=rss_gib, reserved_gib=loss, elapsed_s=seconds
    ),
    at,
    figures,
    st.floats(0, 100, width=32),
    st.floats(0, 1e6),
)
others = st.sampled_from(opening(100))
foreign: st.SearchStrategy[Any] = st.sampled_from(
    [True, "1", "x\ny", [1], {}, None, 10**400, 2**60, 1e308, -0.0, "\ud800", 5, 1.5]
)


def raw(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def bitten(at: int, new: bytes) -> bytes:
    return PLAIN[:at] + new + PLAIN[at + 1 :]


damaged = st.one_of(
    st.builds(lambda key, new: raw({**RECORD, key: new}), st.sampled_from([*RECORD]), foreign),
    st.sampled_from([raw({k: RECORD[k] for k in RECORD if k != key}) for key in RECORD]),
    st.builds(lambda cut: PLAIN[:cut], st.integers(1, len(PLAIN))),
    st.builds(lambda cut: PLAIN[cut:], st.integers(1, len(PLAIN) - 1)),
    st.builds(bitten, st.integers(0, len(PLAIN) - 1), st.binary(max_size=2)),
    st.sampled_from(
        [
            PLAIN + b"," + NEXT,
            PLAIN + b" ",
            b" " + PLAIN,
            PLAIN + NEXT,
            PLAIN[:-1] + b', "step": 9}',
            PLAIN[:-1] + b', "more": 9}',
            PLAIN.replace(b"0.12", b"NaN"),
            PLAIN.replace(b"0.12", b"1e999"),
            PLAIN.replace(b'"step": 1', b'"step": -0'),
            PLAIN.replace(b'"step": 1', b'"step": 01'),
            raw(dict(reversed(RECORD.items()))),
            b"",
            b"[]",
        ]
    ),
)  # fmt: skip
whole = st.builds(lambda event: encode(event).rstrip(b"\n"), st.one_of(taken, taken, others))
lines = st.lists(st.one_of(whole, whole, whole, damaged), max_size=40)
SPLIT = PLAIN.index(b', "epoch"')


def read(lines: Sequence[bytes]) -> list[Event]:
    """As a viewer reads them: many at a time."""
    return [event for event in decode_all(lines) if event is not None]


def one_by_one(lines: Iterable[bytes]) -> RunState:
    run = RunState()
    for line in lines:
        event = decode(line)
        run = run.fold([event]) if event else run
    return run


@given(lines=lines, cuts=st.lists(st.integers(0, 40), max_size=4))
@example([PLAIN + b"," + NEXT, PLAIN[:SPLIT], PLAIN[SPLIT + 2 :]], [])
@example([PLAIN + b"," + NEXT, PLAIN[:SPLIT], b"{" + PLAIN[SPLIT + 2 :]], [])
@many
def test_a_run_tells_the_same_line_by_line_and_in_bulk(lines: list[bytes], cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(lines)]
    in_bulk = RunState()
    for start, end in itertools.pairwise(places):
        in_bulk = in_bulk.fold(read(lines[start:end]))
    assert told(in_bulk) == told(one_by_one(lines))
    assert told(RunState().fold(filter(None, map(decode, lines)))) == told(in_bulk)


def test_a_long_run_with_resumptions_tells_the_same() -> None:
    dice = random.Random(4)
    lines: list[bytes] = []
    at = 0
    for _ in range(40):
        for number in range(at, at + dice.randint(1, 900)):
            loss = dice.choice([dice.lognormvariate(0, 1), None])
            lines.append(encode(changed(STEP, step=number, loss=loss, elapsed_s=number * 0.5)))
            at = number + dice.choice([1, 1, 1, 3])
        at = max(0, at - dice.choice([0, 0, 5, 400]))
    assert len(lines) > 10_000
    assert told(RunState().fold(read(lines))) == told(one_by_one(lines))


@pytest.mark.parametrize("damage", [PLAIN[:-9], PLAIN.replace(b"0.12", b"true"), b"{}"])
def test_one_damaged_line_costs_only_itself(damage: bytes) -> None:
    lines = [encode(event) for event in steps(20, 100)]
    assert read([*lines[:10], damage, *lines[10:]]) == read(lines)
