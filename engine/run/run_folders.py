"""Folders in which this user made runs, kept so that these can be listed from anywhere."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from engine import atomic, guarded, user_dirs
from engine.run.rundir import RunDir

_MOST = 200
"""Folders that are remembered; where there are more, those that are gone are forgotten."""
_DEPTH = 5
"""How far below a folder runs are looked for: /home, a user, a project, runs, a run."""


def remember(folder: Path) -> None:
    """Keep a folder; a place where nothing can be written costs no run."""
    path = str(folder.absolute())
    with contextlib.suppress(OSError):
        folders = _read()
        if path in folders:
            return
        remaining = (
            [name for name in folders if os.path.isdir(name)] if len(folders) >= _MOST else folders
        )
        lines = (f"{json.dumps(name)}\n" for name in [*remaining, path][-_MOST:])
        atomic.write_lines(_file(), lines)


def existing() -> list[Path]:
    """Those that are there, the one that was remembered last first."""
    return [Path(name) for name in reversed(_read()) if os.path.isdir(name)]


def below(root: Path) -> list[Path]:
    """Folders below a folder, and itself, that hold runs; nothing is looked for behind links."""
    return list(_below(root, _DEPTH))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        folders = sorted(
            entry.path
            for entry in os.scandir(folder)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        )
    except OSError:
        return
    runs = {path for path in folders if RunDir(Path(path)).exists}
    if runs:
        yield folder
    if depth > 1:
        for path in folders:
            if path not in runs:
                yield from _below(Path(path), depth - 1)


def _read() -> list[str]:
    try:
        lines = guarded.contents(_file()).decode("utf-8").splitlines()
        names = [json.loads(line) for line in lines]
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str)]


def _file() -> Path:
    return user_dirs.state() / "run-folders.jsonl"
