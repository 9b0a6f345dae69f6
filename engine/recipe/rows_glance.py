"""What the head of a file of rows tells at once: how many, their columns, broken lines."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import guarded
from engine.recipe.data_files import ENDINGS, LINES, ending

_MAX_BYTES = 4 << 20
"""Of a file that is counted to its end; of a longer one the rest is reckoned from its head."""
_FIRST_ROWS = 64
_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}


@dataclass(frozen=True, slots=True)
class Glance:
    """Of one file."""

    kind: str
    """Its ending, without that of its compression."""
    num_rows: int | None = None
    """None where only the whole file tells."""
    is_exact: bool = True
    columns: tuple[str, ...] = ()
    """Of the first rows."""
    broken_lines: tuple[int, ...] = ()
    """Numbers of those that are no row, counted from 1."""


def of_file(path: Path) -> Glance | None:
    """A look at a file's head; None of one that can't be read, or that holds no rows."""
    kind = ending(path)
    if kind not in ENDINGS:
        return None
    try:
        with guarded.opened(path) as file:
            head, size = file.read(_MAX_BYTES), path.stat().st_size
    except (OSError, guarded.Unreadable):
        return None
    if path.suffix != kind or kind not in (*LINES, ".json", *_SEPARATORS):
        return Glance(kind)
    text = head.decode("utf-8-sig", "replace")
    if kind == ".json":
        return _of_list(text, size > len(head))
    whole = text if size == len(head) else text[: text.rfind("\n") + 1]
    glance = _of_table(whole, kind) if kind in _SEPARATORS else _of_lines(whole, kind)
    if size == len(head) or not glance.num_rows:
        return glance
    reckoned = 100 * round(glance.num_rows * size / max(1, len(whole.encode())) / 100)
    return Glance(kind, reckoned, False, glance.columns, glance.broken_lines)


def _of_lines(text: str, kind: str) -> Glance:
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows = {n: row for n, line in lines if isinstance(row := _parsed(line), dict)}
    if text.lstrip().startswith("["):
        return _of_list(text, is_cut=False) or Glance(kind)
    if not lines or lines[0][0] not in rows:
        # Objects may stand on several lines, which a look at one can't tell from damage.
        return Glance(kind)
    broken = tuple(n for n, _ in lines if n not in rows)
    return Glance(kind, len(rows), True, _columns([*rows.values()]), broken)


def _of_list(text: str, is_cut: bool) -> Glance | None:
    kind = ".json"
    if is_cut:
        return Glance(kind)
    document = _parsed(text)
    if not isinstance(document, list):
        return Glance(kind) if isinstance(document, dict) else None
    rows = [row for row in document if isinstance(row, dict)]
    return Glance(kind, len(rows), True, _columns(rows)) if rows else None


def _of_table(text: str, kind: str) -> Glance:
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS[kind], key=first.count)
    rows = _fields(text, separator)
    names = [name.strip() for name in next(rows, [])]
    return Glance(kind, sum(1 for row in rows if row), True, tuple(filter(None, names)))


def _fields(text: str, separator: str) -> Iterator[list[str]]:
    """Rows of a table, as far as they can be read."""
    try:
        yield from csv.reader(text.splitlines(keepends=True), delimiter=separator)
    except csv.Error:
        return


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _columns(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows[:_FIRST_ROWS] for name in row))
