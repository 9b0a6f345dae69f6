"""Values of a recipe as TOML, in characters that every terminal shows as they are."""

import tomllib
from typing import Any

import tomlkit
from tomlkit.items import Item

from workbench.text.sanitize import sanitize

_SHORT = 0x10000
"""From here on TOML's escape has eight digits."""


def of_value(value: Any) -> str:
    """A value as it stands behind `key = ` in a recipe, on one line."""
    return "".join(map(_escaped, _item(value).as_string()))


def _item(value: Any) -> Item:
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, inner in value.items():
            table.append(key, _item(inner))
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for inner in value:
            array.append(_item(inner))
        return array
    item: Item = tomlkit.item(value)
    return item


def of_setting(value: Any) -> str:
    """A value as it stands behind `--set key=`: text that nothing else can be meant by is bare."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return of_value(value)
    return value if _is_plain(value) and _is_no_toml(value) else of_value(value)


def _is_plain(text: str) -> bool:
    return bool(text) and text == text.strip() and sanitize(text) == text and "\n" not in text


def _is_no_toml(text: str) -> bool:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return True
    return False


def _escaped(char: str) -> str:
    if sanitize(char) == char and char != "\t":
        return char
    return f"\\u{ord(char):04x}" if ord(char) < _SHORT else f"\\U{ord(char):08x}"
