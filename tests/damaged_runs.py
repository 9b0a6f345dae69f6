"""Runs with a file that is none, or holds what no reader should take in; and the words for it."""

import os
from collections.abc import Callable
from pathlib import Path

from recording import lay_down, load

from engine.run.rundir import RunDir

FILES = ("request.json", "plan.json", "events.jsonl", "control.jsonl", "engine.run.lock",
         "exit.json")  # fmt: skip
SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "it is a directory, and no file"),
    "pipe": (os.mkfifo, "it is a named pipe, and no file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, and no file"),
    "loop": (lambda path: path.symlink_to(path), "it is a link that leads to itself, and no file"),
}
"""What may stand in a file's place, and the words for it."""
HOSTILE: dict[str, tuple[bytes, str]] = {
    "deep": (b"[" * 100_000, "it is nested deeper than 64 levels"),
    "deeper": (b'{"a":' * 900 + b"1" + b"}" * 900, "it is nested deeper than 64 levels"),
    "digits": (b'{"plan": ' + b"9" * 4_000 + b"}", "a number in it has more than 40 digits"),
    "long": (b" " * (17 << 20), "it is longer than 16 MiB"),
}
"""Documents that are out of bounds."""


def lay_down_all(runs: Path) -> dict[str, str]:
    """One run for each damage; what a table says of it, by the run's name."""
    said = {}
    for file in FILES:
        for kind, (make, words) in SPECIAL.items():
            run = _replaced(runs, f"{file.partition('.')[0]}-{kind}", file)
            make(run.path / file)
            said[run.name] = f"{file}: {words}"
    for file in ("request.json", "plan.json"):
        for kind, (content, words) in HOSTILE.items():
            run = _replaced(runs, f"{file.partition('.')[0]}-{kind}", file)
            (run.path / file).write_bytes(content)
            said[run.name] = words
    return said


def _replaced(runs: Path, name: str, file: str) -> RunDir:
    run = lay_down(runs, f"2026-11-21-0900-{name}", load("healthy"))
    (run.path / file).unlink(missing_ok=True)
    return run
