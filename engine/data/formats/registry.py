"""Every format of rows by name, in the order in which rows are tried on them."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.conversation import Conversation, UnusableRow, settled
from engine.data.formats import (
    alternating,
    chat,
    function_calling,
    gemini,
    meaning,
    pairs,
    persona,
    question_answer,
    reply_tree,
    text,
    tool_text,
)
from engine.data.formats.chat_marks import NOTED_MARKS
from engine.data.formats.comparisons import comparison_of
from engine.data.formats.form import Form, Record

BETTER_ANSWERS = "chosen"
"""What takes the better answers of rows that compare them; it is asked for by name alone."""
FORMATS: dict[str, Form] = {
    "messages": chat.MESSAGES,
    "sharegpt": chat.SHAREGPT,
    "instruction_input_output": question_answer.INSTRUCTION_INPUT_OUTPUT,
    "instruction_output": question_answer.INSTRUCTION_OUTPUT,
    "question_response": question_answer.QUESTION_RESPONSE,
    "prompt_completion": question_answer.PROMPT_COMPLETION,
    "reply_tree": reply_tree.REPLY_TREE,
    "alternating": alternating.ALTERNATING,
    "xlam": function_calling.XLAM,
    "glaive": function_calling.GLAIVE,
    "gemini": gemini.GEMINI,
    "nemotron_persona": persona.PERSONA,
    "usr_bot": text.USR_BOT,
    "title_text": question_answer.TITLE_TEXT,
    "text": text.TEXT,
    BETTER_ANSWERS: pairs.BETTER_ANSWERS,
}
PREFERENCE = "preference"
"""What rows that judge answers are detected as; they are for DPO."""

DETECTED_FROM = 64
"""Rows at the head of a source that its format is told from."""


_JUDGED = {"messages", "conversations", "completion", "response", "output", "answer"}
"""Columns with an answer that a label may judge."""


def is_preference(record: Record) -> bool:
    """Whether a row judges answers."""
    if comparison_of(record):
        return True
    return bool(_JUDGED & record.keys()) and meaning.judgement(record) is not None


def format_of(record: Record) -> str | None:
    """Name of the format that a record's columns show, or None."""
    return PREFERENCE if is_preference(record) else supervised_format_of(record)


def supervised_format_of(record: Record) -> str | None:
    """The same, whatever judges the record's answer."""
    return next((name for name, form in FORMATS.items() if form.fits(record)), None)


def detect(records: list[Record]) -> str | None:
    """The format of most records; the first of those that are equally frequent."""
    counted = Counter(name for name in map(format_of, records) if name)
    return counted.most_common(1)[0][0] if counted else None


def renamed(record: Record, columns: dict[str, str]) -> Record:
    """The record with a recipe's mapping applied: the format's name = the row's own column."""
    mapped = {own: record[own] for own in columns.values() if own in record}
    if not mapped:
        return record
    others = {name: value for name, value in record.items() if name not in mapped}
    return others | {name: mapped[own] for name, own in columns.items() if own in mapped}


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as turns, and what it says beside them."""

    turns: Conversation
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    """Names of columns, and of keys of messages, that say something and were not read."""


def conversation(record: Record, format_name: str, folder: str = "") -> Conversation:
    """The record as turns. Raises `UnusableRow` as `read` does."""
    return read(record, format_name, folder).turns


def read(record: Record, format_name: str, folder: str = "", *, is_asked: bool = False) -> ReadRow:
    """The record as turns, with image files relative to `folder`.

    `is_asked` says that the recipe names the format: bare text is then bare, whatever it holds.
    Raises `UnusableRow` with the reason.
    """
    form = FORMATS[format_name]
    meaning.refuse_unheard(record)
    _refuse_unwanted(record, form)
    is_bare = format_name == "text" and not is_asked
    try:
        turns = text.read_untemplated(record) if is_bare else form.read(record)
    except (KeyError, StopIteration, TypeError, AttributeError, ValueError):
        raise UnusableRow(f"columns are not those of {format_name}") from None
    settled_turns = settled(tool_text.read_out(turns))
    plain_turns = tool_text.without_instructions(settled_turns)
    notes = form.notes(record)
    if is_bare and turns[0].role != "text":
        notes = (*notes, NOTED_MARKS)
    if plain_turns != settled_turns:
        notes = (*notes, tool_text.NOTED_INSTRUCTIONS)
    names = form.unread(record) if form.unread else meaning.unread(record, form.columns)
    unread = tuple(name for name in names if name not in meaning.ROW_WEIGHTS)
    weighed = _weighed(plain_turns, meaning.row_weight(record))
    return ReadRow(located(weighed, folder), notes, unread)


def _weighed(turns: Conversation, weight: float) -> Conversation:
    """The turns with what carries loss weighed by its row, beside what each message says."""
    if weight == 1:
        return turns
    return tuple(
        replace(turn, weight=turn.weight * weight) if turn.role in ("assistant", "text") else turn
        for turn in turns
    )


def _refuse_unwanted(record: Record, form: Form) -> None:
    """Raises `UnusableRow` where a column judges the row's answer to be an unwanted one."""
    judged = meaning.judgement(record)
    if judged and not judged[1] and judged[0] not in form.columns:
        raise UnusableRow(f"an answer that column {judged[0]} marks as unwanted")


def located(turns: Conversation, folder: str) -> Conversation:
    """The turns with image files relative to a folder. Raises `UnusableRow` for other images."""
    images = [image for turn in turns for image in turn.images]
    if not images:
        return turns
    if any("://" in image or image.startswith("data:") for image in images):
        raise UnusableRow("an image that is no local file")
    return tuple(
        replace(turn, images=tuple(str(Path(folder, image)) for image in turn.images))
        for turn in turns
    )
