"""The JSON Schema of an event's line, derived from the classes; printed for docs/."""

import dataclasses
import json
import types
import typing
from dataclasses import fields
from typing import Any

from engine.events import KINDS, SCHEMA_VERSION, Event


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line, derived from the classes above."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"gemma-bench event, schema {SCHEMA_VERSION}",
        "oneOf": [_schema_of(cls) for cls in KINDS.values()],
    }


def _schema_of(cls: type[Event]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    required = ["kind", "t", "time"]
    required += [f.name for f in fields(cls) if f.default is dataclasses.MISSING]
    return {
        "title": cls.kind,
        "description": cls.__doc__,
        "type": "object",
        "required": required,
        "properties": {
            "kind": {"const": cls.kind},
            **{f.name: _schema_of_type(hints[f.name]) for f in fields(cls)},
        },
    }


_JSON_TYPES = {int: "integer", float: "number", str: "string", type(None): "null"}


def _schema_of_type(hint: Any) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):
        parts = typing.get_args(hint)
        if all(part in _JSON_TYPES for part in parts):
            return {"type": [_JSON_TYPES[part] for part in parts]}
        return {"anyOf": [_schema_of_type(part) for part in parts]}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _schema_of_type(typing.get_args(hint)[0])}
    if typing.get_origin(hint) is dict:
        return {
            "type": "object",
            "additionalProperties": _schema_of_type(typing.get_args(hint)[1]),
        }
    return {"type": _JSON_TYPES[hint]}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
