"""Rows of one text: turns marked `<usr>`, `<bot>` and `<sys>`, or no turns at all."""

import re

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import chat_marks
from engine.data.formats.form import Form, Record, words

_MARK = re.compile(r"<(usr|bot|sys)>")
_ROLES = {"usr": "user", "bot": "assistant", "sys": "system"}


def read_marked(record: Record) -> list[Turn]:
    """Marked turns. A `<sys>` after a `<usr>` is that question's input and joins it."""
    before, *pieces = _MARK.split(words(record["text"]))
    if before.strip():
        raise UnusableRow("text before the first mark")
    turns: list[Turn] = []
    for mark, said in zip(pieces[::2], pieces[1::2], strict=True):
        if mark == "sys" and turns and turns[-1].role == "user":
            turns[-1] = Turn("user", f"{turns[-1].content}\n\n{said.strip()}")
        else:
            turns.append(Turn(_ROLES[mark], said.strip()))
    return turns


def read_text(record: Record) -> list[Turn]:
    """Bare text, trained on whole and without a template."""
    return [Turn("text", words(record["text"]))]


def read_untemplated(record: Record) -> list[Turn]:
    """Bare text; where it was put through a chat template already, the turns of that."""
    text = words(record["text"])
    marks = chat_marks.mark_in_text(text)
    return chat_marks.turns_of(text, marks) if marks else read_text(record)


USR_BOT = Form(
    lambda record: (
        isinstance(text := record.get("text"), str) and "<bot>" in text and "<bot>:" not in text
    ),
    read_marked,
    frozenset({"text"}),
)
TEXT = Form(lambda record: "text" in record, read_text, frozenset({"text"}))
