"""Lists that a column holds as text: CSV and many exports have no other way to write them."""

import ast
import json
from typing import Any

_LISTS = {
    "messages", "conversations", "conversation", "dialog", "dialogue", "history", "images",
    "choices", "options", "contents", "data", "chosen", "rejected", "prompt", "completion",
}  # fmt: skip
"""Columns that formats read as lists. Text of any other column is text, whatever it looks like."""
_ALSO_TEXT = {"chosen", "rejected", "prompt", "completion"}
"""Those of which a list counts only where it is one of messages."""
_OBJECTS = {
    "prompt": "replies", "answers": "answer_start", "choices": "label",
    "systemInstruction": "parts", "system_instruction": "parts",
}  # fmt: skip
"""Columns that formats read as objects, and the key by which these are told from other text."""
_SPEAKERS = {"role", "from"}
_MAX_LITERAL = 1 << 20
"""Python's parser of literals takes a hundred times the memory of the text."""


def unpacked(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its lists read from their text, once; the record itself where it has none.

    Lists of messages may stand as a list for each key, as datasets writes a sequence of objects.
    """
    lists: dict[str, Any] = {}
    for name in _LISTS & record.keys():
        value = record[name]
        listed = _list(value, name) if isinstance(value, str) else _by_message(value)
        if listed is not None:
            lists[name] = listed
    for name, key in _OBJECTS.items():
        text = record.get(name)
        if isinstance(text, str) and text.startswith("{") and key in text:
            value = _value(text.strip())
            if isinstance(value, dict) and key in value:
                lists[name] = value
    return {**record, **lists} if lists else record


def _by_message(value: Any) -> list[Any] | None:
    """Objects out of lists of the same length by key; None for anything else."""
    if not isinstance(value, dict) or not (_SPEAKERS & value.keys()):
        return None
    columns = [*value.values()]
    if not all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def _list(text: str, name: str) -> list[Any] | None:
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return None
    value = _value(stripped)
    if not isinstance(value, list) or (name in _ALSO_TEXT and not _are_messages(value)):
        return None
    return value


def _value(text: str) -> Any:
    """What JSON or Python stands for; None where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _literal(text)


def _literal(text: str) -> Any:
    """A list as Python prints it, which is what pandas writes into a CSV."""
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _are_messages(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(one, dict) and _SPEAKERS & one.keys() for one in value)
