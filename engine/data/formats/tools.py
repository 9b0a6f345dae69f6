"""Functions that a row declares and calls, in the shapes that published sets write them."""

import ast
import json
from contextlib import suppress
from typing import Any

from engine.data.conversation import ToolCall, UnusableRow
from engine.data.formats.meaning import as_json
from engine.guarded import Json

_TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "int": "integer",
          "str": "string", "bool": "boolean",
          **{name.upper(): name for name in
             ("object", "array", "string", "number", "integer", "boolean")}}  # fmt: skip
"""Python's names of types, found in benchmarks, and Google's, as JSON Schema's."""


def calls(value: Json) -> tuple[ToolCall, ...]:
    """A message's `tool_calls`."""
    if not value:
        return ()
    if not isinstance(value, list):
        raise UnusableRow("tool calls that are no list")
    return tuple(_call(item) for item in value)


def calls_of_text(text: str) -> tuple[ToolCall, ...]:
    """Calls written as JSON text, one object or a list of them."""
    try:
        value = json_or_python(text)
    except (ValueError, RecursionError):
        raise UnusableRow("a tool call that is not valid JSON") from None
    return tuple(_call(item) for item in (value if isinstance(value, list) else [value]))


def json_or_python(text: str) -> Any:
    """A value as JSON, or as Python prints one, as Hermes' set does. Raises `ValueError`."""
    with suppress(ValueError):
        return json.loads(text)
    try:
        # What JSON can't say, such as a set, is no value of it.
        return json.loads(json.dumps(ast.literal_eval(text)))
    except (SyntaxError, TypeError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _call(value: Any) -> ToolCall:
    inner = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise UnusableRow("a tool call without a name")
    arguments = as_json(inner.get("arguments", inner.get("parameters")))
    if isinstance(arguments, str):
        raise UnusableRow("a tool call whose arguments are not valid JSON")
    if not isinstance(arguments, dict | None):
        raise UnusableRow("a tool call whose arguments are no object")
    return ToolCall(inner["name"], json.dumps(arguments or {}, ensure_ascii=False))


def declarations(value: Json) -> str:
    """The functions a row declares as a JSON list of {type, function}; empty where none."""
    try:
        value = json.loads(value) if isinstance(value, str) and value.strip() else value
    except (ValueError, RecursionError):
        raise UnusableRow("tools that are not valid JSON") from None
    if not value:
        return ""
    declared = [_declared(item) for item in (value if isinstance(value, list) else [value])]
    return json.dumps(declared, ensure_ascii=False)


def _declared(value: Json) -> dict[str, Any]:
    inner = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise UnusableRow("a tool without a name")
    return {"type": "function", "function": _json_schema({"description": "", **inner})}


def _json_schema(value: Json) -> Any:
    if isinstance(value, list):
        return [_json_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _TYPES.get(item, item)
        if key == "type" and isinstance(item, str)
        else _json_schema(item)
        for key, item in value.items()
    }
