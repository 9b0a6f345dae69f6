"""What of the user's own lies near: recipes and files of rows."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from engine import guarded
from engine.recipe import data_files, files, rows_glance, schema
from engine.recipe.rows_glance import Glance

_MOST_FILES, _MOST_ENTRIES = 50, 2000
_NO_ROWS = {"runs", "node_modules", "__pycache__"}
"""Folders that are not looked into for rows."""


def recipes() -> list[str]:
    """TOML files with a section of a recipe, or that can't be read; named as `load` takes them."""
    paths = (path for path in Path().glob("*.toml") if not path.name.startswith("."))
    return sorted(str(path) for path in paths if _may_be_recipe(path))


def _may_be_recipe(path: Path) -> bool:
    """Pipes and devices are not opened."""
    try:
        if not path.is_file() or path.stat().st_size > files.MAX_BYTES:
            return False
        return not schema.SECTIONS.keys().isdisjoint(guarded.toml_document(path, files.MAX_BYTES))
    except (OSError, ValueError):
        return True


def row_files() -> list[tuple[str, Glance]]:
    """Files of rows in the current folder, then in those within it, each with a look at it."""
    folders = [""]
    folders += [f"{name}/" for name, is_folder in _entries(".") if is_folder]
    paths = (
        f"{folder}{name}"
        for folder in folders
        for name, is_folder in _entries(folder or ".")
        if not is_folder and data_files.is_rows(Path(name))
    )
    glances = ((path, rows_glance.of_file(Path(path))) for path in paths)
    return [*islice(((path, glance) for path, glance in glances if glance), _MOST_FILES)]


def _entries(folder: str) -> Iterator[tuple[str, bool]]:
    """Names that are not hidden, in order, and which of them are folders."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted((e.name, e.is_dir()) for e in islice(listed, _MOST_ENTRIES))
    except OSError:
        return
    for name, is_folder in entries:
        if not name.startswith(".") and not (is_folder and name in _NO_ROWS):
            yield name, is_folder
