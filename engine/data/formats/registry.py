"""Every format of rows by name, in the order in which rows are tried on them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from engine.data.conversation import Conversation, Turn, UnusableRow, settled
from engine.data.formats import chat, persona, question_answer, text
from engine.data.formats.form import Form, Record
from engine.data.formats.preference import is_preference

FORMATS: dict[str, Form] = {
    "messages": chat.MESSAGES,
    "sharegpt": chat.SHAREGPT,
    "instruction_input_output": question_answer.INSTRUCTION_INPUT_OUTPUT,
    "instruction_output": question_answer.INSTRUCTION_OUTPUT,
    "question_response": question_answer.QUESTION_RESPONSE,
    "prompt_completion": question_answer.PROMPT_COMPLETION,
    "nemotron_persona": persona.PERSONA,
    "usr_bot": text.USR_BOT,
    "title_text": question_answer.TITLE_TEXT,
    "text": text.TEXT,
}
PREFERENCE = "preference"
"""What rows that judge answers are detected as; they are for DPO."""

DETECTED_FROM = 64
"""Rows at the head of a source that its format is told from."""


def format_of(record: Record) -> str | None:
    """Name of the format that a record's columns show, or None."""
    if is_preference(record):
        return PREFERENCE
    return next((name for name, form in FORMATS.items() if form.fits(record)), None)


def detect(records: list[Record]) -> str | None:
    """The format of most records; the first of those that are equally frequent."""
    counted = Counter(name for name in map(format_of, records) if name)
    return counted.most_common(1)[0][0] if counted else None


def renamed(record: Record, columns: dict[str, str]) -> Record:
    """The record with a recipe's mapping applied: the format's name = the row's own column."""
    taken = {own: record[own] for own in columns.values() if own in record}
    if not taken:
        return record
    kept = {name: value for name, value in record.items() if name not in taken}
    return kept | {name: taken[own] for name, own in columns.items() if own in taken}


def conversation(record: Record, format_name: str, folder: str = "") -> Conversation:
    """The record as turns, with image files relative to `folder`.

    Raises `UnusableRow` with the reason.
    """
    try:
        turns = FORMATS[format_name].read(record)
    except (KeyError, StopIteration, TypeError, AttributeError, ValueError):
        raise UnusableRow(f"columns are not those of {format_name}") from None
    return settled([_located(turn, folder) for turn in turns])


def _located(turn: Turn, folder: str) -> Turn:
    if not turn.images:
        return turn
    if any("://" in image or image.startswith("data:") for image in turn.images):
        raise UnusableRow("an image that is no local file")
    return replace(turn, images=tuple(str(Path(folder, image)) for image in turn.images))
