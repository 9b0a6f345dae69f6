"""Many lines of events at once: steps that follow each other come as columns of numbers."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic_core import from_json

from engine.events import Event, Step, decode

_NAMES = tuple(field.name for field in fields(Step))
_KEYS = ["kind", *_NAMES]
_MOST_ROWS = 4096
_Row = tuple[Any, ...]
_known_shapes: set[tuple[type, ...]] = set()
"""Types of the values of steps that `decode` took; a step is taken or not by its types alone."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """At least one step, and no other event between them."""

    numbers: dict[str, "array[float]"]
    """By field; not a number where it was null."""
    last: Step

    def rising(self) -> Iterator[dict[str, "array[float]"]]:
        """The numbers in parts, each of steps that grow; a new part begins where one comes again."""
        steps = self.numbers["step"]
        starts = [at for at in range(1, len(steps)) if steps[at] <= steps[at - 1]]
        if not starts:
            yield self.numbers
            return
        for start, end in zip([0, *starts], [*starts, len(steps)], strict=True):
            yield {name: column[start:end] for name, column in self.numbers.items()}


def of(steps: Sequence[Step]) -> Stretch:
    """Steps as a stretch."""
    return _stretch([_row(step) for step in steps])


def read(lines: Iterable[bytes]) -> Iterator[Event | Stretch]:
    """What `decode` makes of each line, in order, with the steps in stretches."""
    rows: list[_Row] = []
    for line in lines:
        row = _plain_row(line)
        if row is None:
            event = decode(line)
            if event is None:
                continue
            if not isinstance(event, Step):
                yield from _stretches(rows)
                rows = []
                yield event
                continue
            row = _row(event)
        rows.append(row)
        if len(rows) == _MOST_ROWS:
            yield from _stretches(rows)
            rows = []
    yield from _stretches(rows)


def _plain_row(line: bytes) -> _Row | None:
    """The values of a step as the engine writes it; None for any other line."""
    try:
        record = from_json(line, allow_inf_nan=False)
    except ValueError:
        return None
    if type(record) is not dict or list(record) != _KEYS:
        return None
    row = tuple(record.values())
    shape = tuple(map(type, row))
    if shape not in _known_shapes:
        if row[0] != Step.kind or decode(line) is None:
            return None
        _known_shapes.add(shape)
    return row if row[0] == Step.kind else None


def _row(step: Step) -> _Row:
    return (step.kind, *(getattr(step, name) for name in _NAMES))


def _stretches(rows: list[_Row]) -> Iterator[Stretch]:
    try:
        if rows:
            yield _stretch(rows)
    except OverflowError:
        yield from _stretches([row for row in rows if _fits(row)])


def _fits(row: _Row) -> bool:
    """Whether every number is one that a float can hold; `decode` asks the same."""
    try:
        _stretch([row])
    except OverflowError:
        return False
    return True


def _stretch(rows: Sequence[_Row]) -> Stretch:
    columns = dict(zip(_KEYS, zip(*rows, strict=True), strict=True))
    numbers = {name: _numbers(columns[name]) for name in _NAMES if name != "time"}
    return Stretch(numbers, Step(**dict(zip(_NAMES, rows[-1][1:], strict=True))))


def _numbers(column: Sequence[float | None]) -> "array[float]":
    lost = column.count(None)
    if lost == len(column):
        return array("d", [math.nan]) * lost
    if lost:
        return array("d", [math.nan if number is None else number for number in column])
    return array("d", column)  # type: ignore[arg-type]
