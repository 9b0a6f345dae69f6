"""Which types of JSON stand for the types that a frozen class declares."""

import types
import typing
from dataclasses import fields
from functools import cache
from typing import Any

_FROM_JSON: dict[type, set[type]] = {float: {float, int}, tuple: {list}}


@cache
def json_types(cls: type) -> dict[str, frozenset[type]]:
    """For each field of a dataclass, the types that JSON may bring for it."""
    hints = typing.get_type_hints(cls)
    return {field.name: _json_types_of(hints[field.name]) for field in fields(cls)}


def _json_types_of(hint: Any) -> frozenset[type]:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    named: list[Any] = [typing.get_origin(part) or part for part in parts]
    return frozenset().union(*(_FROM_JSON.get(part, {part}) for part in named))
