"""Read rows from JSON Lines and JSON files; a broken one is named by file and line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.refusal import Refusal, refuse


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it stands in its file."""

    path: str
    number: int
    """Line of a .jsonl file, position in the list of a .json file; from 1."""
    record: dict[str, Any]

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.number}"


def read(path: Path) -> list[Row]:
    """All rows of a file. Raises `Refusal` where one can't be read or there is none."""
    text = _text(path)
    rows = _lines(path, text) if path.suffix == ".jsonl" else _items(path, text)
    if not rows:
        raise refuse(str(path), "it holds no rows", "Give a file with at least one row")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise refuse(str(path), (error.strerror or str(error)).lower(), "Mend the path") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        fix = "Save the file as UTF-8"
        raise refuse(f"{path}:{line}", "bytes that are not UTF-8", fix) from None


def _lines(path: Path, text: str) -> list[Row]:
    return [
        Row(str(path), number, _record(path, number, line))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _not_json(f"{path}:{number}", error) from None
    return _table(path, number, record)


def _items(path: Path, text: str) -> list[Row]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_json(str(path), error) from None
    if not isinstance(items, list):
        raise refuse(str(path), "it is not a list of rows", "Give a JSON list, or JSON Lines")
    return [
        Row(str(path), number, _table(path, number, item))
        for number, item in enumerate(items, start=1)
    ]


def _table(path: Path, number: int, record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        reason = f"a row must be an object with named columns, not {type(record).__name__}"
        raise refuse(f"{path}:{number}", reason, "Mend or remove the row")
    return record


def _not_json(where: str, error: Exception) -> Refusal:
    return refuse(where, f"not valid JSON ({error})", "Mend or remove the row")
