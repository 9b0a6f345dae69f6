"""Answers kept in the user's cache folder, found again by what was asked of which packages."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from engine import user_dirs
from engine.budget.step_shape import StepShape

_SOURCES = Path(__file__).parent
_KEPT = 500
"""Answers; each takes a few kilobytes."""


def key(
    case: StepShape, config: dict[str, Any], whole_depth: bool, versions: dict[str, str]
) -> str:
    """Hash of everything an answer depends on, this folder's own code among it."""
    code = hashlib.sha256()
    for file in sorted(_SOURCES.glob("*.py")):
        code.update(file.read_bytes())
    asked = [case.as_dict(), config, whole_depth, versions, code.hexdigest()]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def find(name: str) -> dict[str, Any] | None:
    """An answer that was kept, or None; a damaged one is none."""
    try:
        found = json.loads(_file(name).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "rows" in found else None


def keep(name: str, found: dict[str, Any]) -> None:
    """Keep an answer; a folder that can't be written to costs the next asker time, no more."""
    file = _file(name)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(found))
        partial.replace(file)
        _forget_oldest(file.parent)


def _file(name: str) -> Path:
    return user_dirs.cache() / "simulated" / f"{name}.json"


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in files[:-_KEPT]:
        file.unlink()
