"""Many lines of events at once: steps that follow each other come as columns of numbers."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby, islice
from typing import Any

from pydantic_core import from_json

from engine.events import Event, Step, decode
from engine.events.json_types import json_types

Numbers = Mapping[str, Sequence[float]]
"""Columns of one length, by field; not a number where an event had null."""
_NAMES = tuple(field.name for field in fields(Step))
_KEYS = ("kind", *_NAMES)
_BEGINNING = b'{"kind": "%s", ' % Step.kind.encode()
"""Of a step as the engine writes it."""
_MOST_LINES = 256


@dataclass(frozen=True, slots=True)
class StepBlock:
    """At least one step, and no other event between them."""

    numbers: Numbers
    last: Step

    def rising(self) -> list[Numbers]:
        """The numbers in parts of steps that grow; a new part begins where a step comes again."""
        steps = self.numbers["step"]
        starts = [at for at in range(1, len(steps)) if steps[at] <= steps[at - 1]]
        if not starts:
            return [self.numbers]
        return [
            {name: column[start:end] for name, column in self.numbers.items()}
            for start, end in zip([0, *starts], [*starts, len(steps)], strict=True)
        ]


def of(steps: Sequence[Step]) -> StepBlock:
    """Steps as a stretch."""
    names = [name for name in _NAMES if name != "time"]
    return StepBlock(
        _from_zero({name: _floats([getattr(step, name) for step in steps]) for name in names}),
        steps[-1],
    )


def read(lines: Iterable[bytes]) -> Iterator[Event | StepBlock]:
    """What `decode` makes of each line, in order, with the steps that it can in stretches."""
    for may_be_steps, group in groupby(lines, lambda line: line.startswith(_BEGINNING)):
        while block := list(islice(group, _MOST_LINES)):
            found = _read_steps(block) if may_be_steps else None
            if found is not None:
                yield found
            else:
                yield from filter(None, map(decode, block))


def _read_steps(lines: Sequence[bytes]) -> StepBlock | None:
    """The steps on lines that each begin as one; None where `decode` has to look at them.

    Each begins with a brace, and no string goes over a line's end: so where as many flat objects
    as lines are found, each line is one of them.
    """
    try:
        records = from_json(b"[%s]" % b",\n".join(lines), cache_strings="keys")
    except ValueError:
        return None
    if len(records) != len(lines) or set(map(tuple, records)) != {_KEYS}:
        return None
    columns = dict(zip(_KEYS, zip(*map(dict.values, records), strict=True), strict=True))
    try:
        numbers = _numbers(columns) if set(columns.pop("kind")) == {Step.kind} else None
    except OverflowError:
        numbers = None
    last = {name: records[-1][name] for name in _NAMES}
    return None if numbers is None else StepBlock(numbers, Step(**last))


def _numbers(columns: Mapping[str, Sequence[Any]]) -> Numbers | None:
    """The columns that are numbers; None where a type or a size is not what `decode` accepts."""
    accepted = json_types(Step)
    numbers: dict[str, Sequence[float]] = {}
    for name, column in columns.items():
        types = set(map(type, column))
        if not types <= accepted[name]:
            return None
        if name != "time":
            numbers[name] = column if types == {float} else _floats(column)
    return _from_zero(numbers)


def _from_zero(numbers: Numbers) -> Numbers:
    """Of steps before the first there are none."""
    steps = numbers["step"]
    return numbers if min(steps) >= 0 else {**numbers, "step": [max(0.0, at) for at in steps]}


def _floats(column: Sequence[float | None]) -> Sequence[float]:
    if None in column:
        return [math.nan if number is None else float(number) for number in column]
    return list(map(float, column))  # type: ignore[arg-type]
