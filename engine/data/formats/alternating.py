"""Rows that list what user and assistant say by turns, without names: UltraChat and LIMA."""

from engine.data.conversation import Turn
from engine.data.formats.form import Form, Record

_COLUMNS = ("data", "conversations", "messages")


def _said(record: Record) -> list[str]:
    """What is said by turns; empty where no column lists texts."""
    lists = (record[name] for name in _COLUMNS if isinstance(record.get(name), list))
    return next((said for said in lists if all(isinstance(text, str) for text in said)), [])


def read_alternating(record: Record) -> list[Turn]:
    """The user begins."""
    said = _said(record)
    return [Turn(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]


ALTERNATING = Form(lambda record: bool(_said(record)), read_alternating, frozenset({*_COLUMNS}))
