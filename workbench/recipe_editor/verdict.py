"""What is said of a choice before it can be started: what is wrong, or how to go on."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from engine.gemma import terms
from workbench.text import format
from workbench.text.sanitize import sanitize_line
from workbench.text.styled import Row, Span

if TYPE_CHECKING:
    from engine.sessions.preview import Reply
    from workbench.recipe_editor.recipe_assessment import RecipeAssessment


def lacks_terms_only(outcome: RecipeAssessment) -> bool:
    """Whether nothing is wrong but that nobody agreed to the model's terms."""
    return [*outcome.problems] == [terms.PROBLEM]


class OwnRows(StrEnum):
    """How far rows of the user's own were looked at by the engine, which alone reads them all."""

    UNREAD = "nobody reads them before the start"
    READING = "they are being read"
    READ = "they can be trained on"
    REFUSED = "they can't"


def of_outcome(outcome: RecipeAssessment, own_rows: OwnRows, start: str, rows: str) -> Span:
    """In an ink; `start` and `rows` are the keys that start the run and show its rows."""
    if lacks_terms_only(outcome):
        return f"Gemma's terms come first. {start} shows them and asks.", "warn"
    if not outcome.problems and own_rows is OwnRows.REFUSED:
        return f"The run would end at its rows, as is told below. {rows} shows them.", "bad"
    if not outcome.problems and own_rows is OwnRows.READING:
        return f"Nothing is wrong so far; rows are being read. {start} starts the run.", "accent"
    if not outcome.problems:
        return f"Nothing is wrong. {start} starts the run, {rows} shows its rows.", "good"
    count = format.amount(len(outcome.problems), "problem")
    waits = "start waits" if outcome.recipe else "start and preview wait"
    return f"{count}: {waits} for what is below", "bad"


def of_reply(reply: Reply | None) -> OwnRows:
    """What the preview's reply means for the run; without a reply nobody knows."""
    from engine.sessions.preview import Answer, Refused

    if isinstance(reply, Refused):
        return OwnRows.REFUSED
    return OwnRows.READ if isinstance(reply, Answer) else OwnRows.UNREAD


def offer(name: str, key: str) -> list[Row]:
    """That one may go back to a run at work."""
    words = [(" is running. ", ""), (key, "accent"), (" follows it", "")]
    return [[(sanitize_line(name), "strong"), *words]]
