"""Rows of one question, in one or more columns, and one answer."""

from string import ascii_uppercase
from typing import Any

from engine.data.conversation import Turn
from engine.data.formats.form import Form, Record, words

_NO_INPUT = {"<noinput>", "noinput", "no input", "<no input>", "nan", "n/a"}
"""What some Alpaca rows write where there is no input; read as none."""


def question_answer(*question: str, answer: tuple[str, ...], needs: tuple[str, ...] = ()) -> Form:
    """The columns of a question, joined by an empty line, and the first there is of an answer's.

    It fits where the first column of the question, all of `needs`, and an answer are there.
    """

    def fits(record: Record) -> bool:
        has_answer = any(name in record for name in answer)
        return has_answer and all(name in record for name in (question[0], *needs))

    def read(record: Record) -> list[Turn]:
        parts = [*(_part(record, name) for name in question), _choices(record.get("choices"))]
        reply = next(record[name] for name in answer if name in record)
        system = record.get("system") or record.get("system_prompt") or ""
        return [
            Turn("system", system if isinstance(system, str) else ""),
            Turn("user", "\n\n".join(part for part in parts if part)),
            Turn("assistant", words(reply)),
        ]

    return Form(fits, read)


def _choices(given: Any) -> str:
    """Choices of a question as lines with letters, by which benchmarks answer."""
    if not isinstance(given, list) or not all(isinstance(choice, str) for choice in given):
        return ""
    return "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, given, strict=False)
    )


def _part(record: Record, name: str) -> str:
    text = words(record.get(name) or "").strip()
    return "" if name == "input" and text.lower() in _NO_INPUT else text


INSTRUCTION_INPUT_OUTPUT = question_answer(
    "instruction", "input", answer=("output", "response"), needs=("input",)
)
INSTRUCTION_OUTPUT = question_answer("instruction", answer=("output", "response"))
QUESTION_RESPONSE = question_answer("question", answer=("response", "answer"))
PROMPT_COMPLETION = question_answer("prompt", answer=("completion", "response"))
TITLE_TEXT = question_answer("title", answer=("text",))
"""An article answers its title."""
