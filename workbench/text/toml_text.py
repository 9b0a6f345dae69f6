"""Values of a recipe as TOML, in characters that every terminal shows as they are."""

import json
import tomllib
from typing import Any

from workbench.text.sanitize import clean

_SHORT = 0x10000
"""From here on TOML's escape has eight digits."""


def of_value(value: Any) -> str:
    """A value as it stands behind `key = ` in a recipe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(of_value, value))}]"
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {of_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value) if isinstance(value, float) else str(value)


def of_setting(value: Any) -> str:
    """A value as it stands behind `--set key=`: text that nothing else can be meant by is bare."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return of_value(value)
    return value if _is_plain(value) and _is_no_toml(value) else _quoted(value)


def _is_plain(text: str) -> bool:
    return bool(text) and text == text.strip() and clean(text) == text and "\n" not in text


def _is_no_toml(text: str) -> bool:
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return True
    return False


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else _quoted(name)


def _quoted(text: str) -> str:
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(char: str) -> str:
    if clean(char) == char and char != "\t":
        return char
    return f"\\u{ord(char):04x}" if ord(char) < _SHORT else f"\\U{ord(char):08x}"
