"""What is said of a choice before it can be started: what is wrong, or how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.gemma import terms
from workbench.text import format
from workbench.text.styled import Span

if TYPE_CHECKING:
    from workbench.recipe_editor.recipe_assessment import RecipeAssessment


def lacks_terms_only(outcome: RecipeAssessment) -> bool:
    """Whether nothing is wrong but that nobody agreed to the model's terms."""
    return [*outcome.problems] == [terms.PROBLEM]


def of_outcome(outcome: RecipeAssessment, start: str, rows: str) -> Span:
    """In an ink; `start` and `rows` are the keys that start the run and show its rows."""
    if lacks_terms_only(outcome):
        return f"Gemma's terms come first. {start} shows them and asks.", "warn"
    if not outcome.problems:
        return f"Nothing is wrong. {start} starts the run, {rows} shows its rows.", "good"
    count = format.amount(len(outcome.problems), "problem")
    waits = "start waits" if outcome.recipe else "start and preview wait"
    return f"{count}: {waits} for what is below", "bad"
