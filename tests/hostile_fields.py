"""Every text that a run's files can hold, made hostile; found from the classes, a new one too."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from recording import lay_down

from engine.events import KINDS, Event, decode, encode
from engine.events.kinds import Done, Failed
from engine.problems import Refusal
from engine.run.request import Request
from engine.run.rundir import RunDir
from tests.asked import request

_LAST = ("done", "failed")


def hostile(place: str) -> str:
    """A title, a colour and a clearing, in seven and in eight bits, and a line drawn over."""
    return f"\x1b]0;{place}\x07\x1b[31m{place}\x9b2J\x9d0;x\x9c\rover\u202e\u2028"


def event(kind: str) -> Event:
    """An event of a kind, each of whose texts is hostile and names its field."""
    made: Event = msgspec.convert(_value(msgspec.inspect.type_info(KINDS[kind]), kind), KINDS[kind])
    assert decode(encode(made)) == made
    return made


def texts(kind: str) -> Iterator[str]:
    """Dotted names of a kind's texts."""
    found: list[str] = []
    _value(msgspec.inspect.type_info(KINDS[kind]), kind, found.append)
    yield from found


def _value(info: Any, place: str, tell: Callable[[str], None] = lambda _: None) -> Any:
    """A plain value that a type admits."""
    match info:
        case msgspec.inspect.StrType():
            tell(place)
            return hostile(place)
        case msgspec.inspect.IntType():
            return 3
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.VarTupleType():
            return [_value(info.item_type, f"{place}[]", tell)]
        case msgspec.inspect.DictType():
            key = _value(info.key_type, f"{place} key", tell)
            return {key: _value(info.value_type, f"{place} value", tell)}
        case msgspec.inspect.UnionType():
            first = next(t for t in info.types if not isinstance(t, msgspec.inspect.NoneType))
            return _value(first, place, tell)
        case msgspec.inspect.StructType():
            fields = {f.name: _value(f.type, f"{place}.{f.name}", tell) for f in info.fields}
            return fields | ({"kind": info.tag} if info.tag else {})
    raise AssertionError(f"{place} is of a type that is not known here: {info}")


def request_document() -> dict[str, Any]:
    """A request whose every text is hostile that may be any text."""
    document = request("mine", forecast={"host_gib": 1.0}).as_dict()
    document["argv"] = document["overrides"] = [""]
    document["parent"] = {"run": "", "path": "", "step": 1}
    for path in list(_leaves(document)):
        was = _put(document, path, hostile(".".join(map(str, path))))
        try:
            Request.from_dict(json.loads(json.dumps(document)))
        except (ValueError, KeyError, TypeError, AttributeError, Refusal):
            _put(document, path, was)
    return document


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _leaves(inner, (*path, key))
    if isinstance(value, str):
        yield path


def _put(document: Any, path: tuple[Any, ...], value: str) -> str:
    for key in path[:-1]:
        document = document[key]
    was: str = document[path[-1]]
    document[path[-1]] = value
    return was


def lay_down_all(runs: Path) -> list[RunDir]:
    """A run for each way to end, hostile in every file, and one by its name."""
    begun = [event(kind) for kind in KINDS if kind not in _LAST]
    endings: dict[str, list[Event]] = {
        "done": [event("done")], "failed": [event("failed")], "died": [],
        "\x1b]0;name\x07\x9b31m\u202e": [event("done")],
    }  # fmt: skip
    assert {Done, Failed} == {KINDS[kind] for kind in _LAST}
    laid = []
    for name, ending in endings.items():
        run = lay_down(runs, f"2026-11-21-0930-{name}", [*begun, *ending], hostile("log") + "\n")
        run.request.write_text(json.dumps(request_document()))
        run.write_plan({**request_document(), "plan": {hostile("plan key"): hostile("plan")}})
        record = {"exit": 1, "signal": None, "oom_kills": {hostile("oom"): 1}}
        words = {key: hostile(f"exit.{key}") for key in ("cause", "ended", "other")}
        run.ending.write_text(json.dumps(record | words))
        (run.adapter).mkdir()
        (run.checkpoints / "step-000003").mkdir(parents=True)
        laid.append(run)
    return laid
