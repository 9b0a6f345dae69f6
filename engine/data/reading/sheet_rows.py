"""Rows of a workbook's one sheet, read by openpyxl, which is an extra."""

import zipfile
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any

from engine import guarded
from engine.problems import Refusal

EXTRA = "gemma-bench[xlsx]"
_MAX_BYTES = 2 << 30
"""Of a workbook's parts when unpacked; a million long rows have as much."""


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Rows by the names in the first row that has any; cells as they would be written in a CSV.

    Raises `Refusal` where openpyxl is missing, the file is none of its kind, or several sheets hold
    rows.
    """
    try:
        import openpyxl
    except ImportError:
        fix = f"Install it with pip install '{EXTRA}', or save the sheet as CSV"
        raise Refusal.of(
            str(path), "workbooks are read by openpyxl, which is not there", fix
        ) from None
    with guarded.opened(path) as file:
        try:
            size = sum(part.file_size for part in zipfile.ZipFile(file).infolist())
            if size > _MAX_BYTES:
                raise Refusal.of(str(path), f"it unpacks to {size >> 30} GiB", "Save it as CSV")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            fix = "Save it anew as .xlsx, or the sheet as CSV"
            raise Refusal.of(str(path), f"it is no workbook ({error})", fix) from None
        sheets = {sheet.title: _rows(sheet) for sheet in book.worksheets}
        filled = {title: first for title, rows in sheets.items() if (first := next(rows, None))}
        if len(filled) > 1:
            fix = "Keep one of them, or save each as a file of its own"
            raise Refusal.of(str(path), f"the sheets {', '.join(filled)} hold rows", fix)
        for title, first in filled.items():
            names = [cell.strip() for cell in first]
            for row in sheets[title]:
                yield {name: cell for name, cell in zip(names, row, strict=False) if name}


def _rows(sheet: Any) -> Iterator[list[str]]:
    """Rows that hold anything, as text."""
    for row in sheet.iter_rows(values_only=True):
        if any(cell is not None for cell in row):
            yield [_text(cell) for cell in row]


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, date | time):
        return cell.isoformat()
    return "" if cell is None else str(cell)
