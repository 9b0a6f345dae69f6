"""Which values of a recipe are paths, and what they begin at: a folder, or a home (`~`)."""

import os
import re
from pathlib import Path
from typing import Any

from engine.guarded import Json

_FILES = re.compile(r"score\.(heldout|general)|data\.heldout|data\.sources\.\d+\.path")


def absolute(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's document with every path made absolute that is relative to `folder`."""
    return {section: value_at(section, table, folder) for section, table in document.items()}


def value_at(key: str, value: Json, folder: Path) -> Any:
    """The value of a dotted key with the paths in it made absolute."""
    if isinstance(value, dict):
        return {name: value_at(f"{key}.{name}", inner, folder) for name, inner in value.items()}
    if key == "data.sources" and isinstance(value, list):
        return [value_at(f"{key}.{place}", source, folder) for place, source in enumerate(value)]
    if not isinstance(value, str) or not value:
        return value
    if key == "model.path":
        return _existing(value, folder)
    return located(value, folder) if _FILES.fullmatch(key) else value


def located(path: str, folder: Path) -> str:
    """Where a path leads that is relative to `folder`, or to somebody's home."""
    return str(folder.absolute() / os.path.expanduser(path))


def _existing(path: str, folder: Path) -> str:
    """A model's folder where there is one; else it may be an id of the hub, and stays."""
    there = located(path, folder)
    return there if path.startswith("~") or os.path.lexists(there) else path
