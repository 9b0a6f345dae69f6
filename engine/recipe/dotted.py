"""Dotted keys of recipes, such as "data.max_length": read, set and listed."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.guarded import Json


def setting(key: str) -> str:
    """The setting that a key lies in: data.sources of data.sources.0.path."""
    return ".".join(key.split(".")[:2])


def get(document: Json, key: str) -> Any:
    """The value at a key of nested tables, and of lists by place; None where there is none."""
    for name in key.split("."):
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document


def put(document: dict[str, Any], key: str, value: Json) -> None:
    """Set a value, in new tables where need be. Raises `ValueError` where it goes through a value
    that is no table, or through a list that has no such place."""
    *outer, last = key.split(".")
    table: Any = document
    for name in outer:
        table = table.setdefault(name, {}) if isinstance(table, dict) else _item(table, name, key)
        if not isinstance(table, dict | list):
            raise ValueError(f"{key}: {name} is not a table")
    if isinstance(table, list):
        _item(table, last, key)
        table[int(last)] = value
    else:
        table[last] = value


def _item(items: list[Any], name: str, key: str) -> Any:
    if not name.isdigit() or int(name) >= len(items):
        raise ValueError(f"{key}: {name} is no place in a list of {len(items)}; the first is 0")
    return items[int(name)]


def remove(document: dict[str, Any], key: str) -> None:
    """Remove a key where it is there."""
    *tables, last = key.split(".")
    outer = get(document, ".".join(tables)) if tables else document
    if isinstance(outer, dict):
        outer.pop(last, None)


def leaves(document: Json, key: str = "") -> dict[str, Any]:
    """Values by key; a table within a list is named by its place, as in data.sources[0].path."""
    if isinstance(document, dict) and (document or not key):
        inner = [(f"{key}.{name}" if key else str(name), v) for name, v in document.items()]
    elif isinstance(document, list) and any(isinstance(item, dict) for item in document):
        inner = [(f"{key}[{index}]", item) for index, item in enumerate(document)]
    else:
        return {key: document}
    return {leaf: value for name, part in inner for leaf, value in leaves(part, name).items()}


def fields(models: Mapping[str, type[BaseModel]]) -> dict[str, FieldInfo]:
    """The fields of models by key, each behind the key that its model is given at."""
    return {
        f"{outer}.{name}": field
        for outer, model in models.items()
        for name, field in model.model_fields.items()
    }
