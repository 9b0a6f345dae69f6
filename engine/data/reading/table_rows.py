"""Rows of tables of text: commas, semicolons or tabs, as the names of the columns show."""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from engine.data.reading.row_index import MAX_ROW_BYTES, UNREADABLE
from engine.data.reading.text_encoding import not_utf8
from engine.problems import Refusal

_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}
"""Those that are tried, the usual one first."""
_TOO_MANY = "more fields than the table has columns"


def records(origin: Path, kind: str, text: io.TextIOBase) -> Iterator[dict[str, Any]]:
    """Rows of a table of the ending `kind`, by the names in its first line. Raises `Refusal`.

    A row with more fields than there are names is one that can't be read: somewhere in it a
    separator stands without quotes, and what belongs where is not known.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = map(_short, iter(lambda: text.readline(MAX_ROW_BYTES + 1), ""))
    first = next(lines, "")
    declared = first.strip().lower()
    separator = declared.removeprefix("sep=") if declared.startswith("sep=") else ""
    if len(separator) == 1:
        first = next(lines, "")
    else:
        separator = max(_SEPARATORS[kind], key=lambda one: len(_fields(first, one)))
    is_spaced = all(name.startswith(" ") for name in _fields(first, separator)[1:])
    rows = csv.reader(chain([first], lines), delimiter=separator, skipinitialspace=is_spaced)
    names = [name.strip() for name in next(rows, [])]
    _require_distinct(origin, names)
    for fields in rows:
        if not fields:
            continue
        if any(field.strip() for field in fields[len(names) :]):
            yield {UNREADABLE: _TOO_MANY}
            continue
        if foreign := _foreign(fields):
            yield {UNREADABLE: not_utf8(foreign)}
            continue
        padded = chain(fields[: len(names)], [None] * (len(names) - len(fields)))
        yield {name: field for name, field in zip(names, padded, strict=True) if name}


def _foreign(fields: list[str]) -> bytes:
    """The row's bytes where some are not UTF-8, which stand in it as lone surrogates."""
    text = " ".join(fields)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return b""


def _short(line: str) -> str:
    if len(line) > MAX_ROW_BYTES:
        raise csv.Error(f"a line of more than {MAX_ROW_BYTES >> 20} MiB")
    return line


def _fields(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _require_distinct(origin: Path, names: list[str]) -> None:
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        fix = "Give each column a name of its own in the first line"
        raise Refusal.of(str(origin), f"two columns are called {', '.join(twice)}", fix)
