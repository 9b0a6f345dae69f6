"""Rows that several screens show: names and values, problems with their remedies, a log's end."""

import re
from collections.abc import Sequence

from engine.problems import Problem
from workbench.text.sanitize import sanitize
from workbench.text.styled import Row, Span, fit, wrapped

Fact = tuple[str, str, str]
"""Name, value, and the value's ink."""
_GAP = 2
_INDENT: Span = ("  ", "")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def fact_rows(facts: Sequence[Fact], width: int) -> list[Row]:
    """Names in one column, values in the next; a row per fact, more where its value is long."""
    longest = max((len(name) for name, _, _ in facts), default=0)
    names = min(width // 2, longest) + _GAP if longest else 0
    return [
        row
        for name, value, ink in facts
        for row in wrapped(value, ink, width, (fit(name, names), "dim"))
    ]


def problem_rows(verdict: Span, problems: Sequence[Problem], width: int) -> list[Row]:
    """A verdict, then what is behind it: where, what, and what to do."""
    text, ink = verdict
    rows = wrapped(text, ink, width)
    for problem in problems:
        value = f" = {problem.value}" if problem.value else ""
        rows += [[], *wrapped(f"{problem.key}{value}", "strong", width)]
        rows += wrapped(problem.reason, "", width, _INDENT)
        rows += wrapped(problem.fix, "accent", width, _INDENT)
    return rows


def note_rows(notes: Sequence[Problem], width: int) -> list[Row]:
    """What is worth a look, and what could be done."""
    return [
        row
        for note in notes
        for row in (
            *wrapped(note.reason, "warn", width),
            *wrapped(note.fix, "accent", width, _INDENT),
        )
    ]


def log_rows(lines: Sequence[str], width: int) -> list[Row]:
    """A row per line. Of a line that overwrote itself the last word stands; colours go."""
    last_words = (_COLOUR.sub("", line).rstrip("\r").rpartition("\r")[2] for line in lines)
    return [[(sanitize(word), "dim")] for word in last_words] or [[("nothing in the log", "dim")]]
