"""Rows that list what user and assistant say by turns, without names: UltraChat and LIMA."""

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats.form import Form, Record, words

_COLUMNS = ("data", "conversations")


def _said(record: Record) -> list[str] | None:
    lists = (record.get(name) for name in _COLUMNS)
    return next((one for one in lists if isinstance(one, list) and one and _is_text(one)), None)


def _is_text(said: list[object]) -> bool:
    return all(isinstance(text, str) for text in said)


def read_alternating(record: Record) -> list[Turn]:
    """The user begins."""
    said = _said(record)
    if said is None:
        raise UnusableRow("no list of what is said by turns")
    return [
        Turn(("user", "assistant")[number % 2], words(text)) for number, text in enumerate(said)
    ]


ALTERNATING = Form(
    lambda record: _said(record) is not None, read_alternating, frozenset({*_COLUMNS})
)
