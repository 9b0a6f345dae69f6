"""Paths as far as they are typed: what a shell or a line of the app may go on with."""

import os
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

KEYS = {
    "model.path", "data.sources", "data.heldout", "score.heldout", "score.general",
    "data.sources.0.path",
}  # fmt: skip
"""Those whose values are paths."""


def offered(prefix: str, is_offered: Callable[[Path], bool] = lambda _: True) -> list[str]:
    """Folders, and the files among which one is looked for, as far as they are typed."""
    typed, _, start = prefix.rpartition("/")
    before = f"{typed}/" if "/" in prefix else ""
    try:
        entries = sorted(os.scandir(os.path.expanduser(before) or "."), key=lambda e: e.name)
    except OSError:
        return []
    shown = [e for e in entries if not e.name.startswith(".") or start.startswith(".")]
    folders = [f"{before}{entry.name}/" for entry in shown if entry.is_dir()]
    named = [e for e in shown if not e.is_dir() and is_offered(Path(e.name))]
    return [*folders, *(f"{before}{entry.name}" for entry in named)]


def completed(text: str) -> tuple[str, list[str]]:
    """What is typed as far as every path goes on alike, and those paths."""
    if text == "~":
        return "~/", []
    paths = [path for path in offered(text) if path.startswith(text)]
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*paths, strict=False))
    return "".join(letters[0] for letters in alike) or text, paths
