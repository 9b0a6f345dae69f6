"""A run's directory: the only place that knows its file names, and what state they tell."""

import json
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine import events, lock
from engine.refusal import refuse
from engine.tail import Tail

RUNS = Path("runs")
"""Where runs are made and listed unless told otherwise: a folder of the current one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class State:
    """What became of a run, derived from its files."""

    name: str
    """starting, running, done, stopped, failed or died."""
    cause: str = ""
    """How it ended, in words, where it did not end well."""

    @property
    def is_alive(self) -> bool:
        """Whether its engine is at work."""
        return self.name in {"starting", "running"}


class RunDir:
    """One run. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.recipe = path / "recipe.toml"
        self.request = path / "request.json"
        self.plan = path / "plan.json"
        self.events = path / "events.jsonl"
        self.control = path / "control.jsonl"
        self.lock = path / "engine.lock"
        self.log = path / "engine.log"
        self.ending = path / "exit.json"
        self.adapter = path / "adapter"
        self.checkpoints = path / "checkpoints"

    @property
    def exists(self) -> bool:
        """Whether a run was created here."""
        return self.request.is_file()

    def checkpoint(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.checkpoints / f"step-{step:06d}"

    def is_alive(self) -> bool:
        """Whether an engine or its supervisor holds the lock."""
        return lock.is_held(self.lock)

    def state(self) -> State:
        """Derived, never stored: the last event, else the lock, else how the process ended."""
        is_alive = self.is_alive()
        last = self._last_event()
        if isinstance(last, events.Done):
            return State("stopped", f"by {last.stopped_by}") if last.stopped_by else State("done")
        if isinstance(last, events.Failed):
            return State("failed", last.error)
        if is_alive:
            return State("running" if last else "starting")
        return State("died", self._cause_of_death())

    def _last_event(self) -> events.Event | None:
        try:
            with self.events.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return None
        known = (events.decode(line) for line in reversed(lines))
        return next((event for event in known if event), None)

    def _cause_of_death(self) -> str:
        try:
            ending = json.loads(self.ending.read_bytes())
        except (OSError, ValueError):
            return "the machine or its supervisor went down with it"
        if ending["signal"] == 9:
            return "killed by signal 9: out of memory, or kill -9"
        if ending["signal"]:
            return f"killed by signal {ending['signal']}"
        return f"exit code {ending['exit']} without a last word"

    def ask(self, want: str, by: str) -> None:
        """Append a wish for the engine to read between steps: stop, save or sample."""
        line = json.dumps({"want": want, "by": by}) + "\n"
        append_line(self.control, line.encode())

    def wishes(self) -> Tail:
        """Reader of the wishes, from the first on."""
        return Tail(self.control)

    def write_request(self, request: dict[str, Any]) -> None:
        """Write down what was asked, before the engine starts."""
        _write_whole(self.request, request)

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write down what it resolved to, once, by the engine."""
        _write_whole(self.plan, plan)

    def read_request(self) -> dict[str, Any]:
        """What was asked: resolved recipe, overrides, hardware, argv."""
        request: dict[str, Any] = json.loads(self.request.read_bytes())
        return request


def create(recipe_name: str, recipe: bytes, request: dict[str, Any], out: Path | None) -> RunDir:
    """Make a run directory with what was chosen in it; on refusal nothing is left behind.

    `out` is the run directory itself; without it one named by date, time and recipe is made
    below `runs`. Raises `Refusal`, with exit code 3 where a live run is in the way.
    """
    path = _free_name(recipe_name) if out is None else out
    run = RunDir(path)
    if run.exists:
        raise _occupied(run)
    try:
        if path.exists() and any(path.iterdir()):
            raise refuse(str(path), "the folder is not empty", "Give another --out")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refuse(str(path), reason, "Give a folder you may write to with --out") from None
    _write_new(run.recipe, recipe)
    run.write_request({"name": recipe_name, **request})
    return run


def find(name: str | None) -> RunDir:
    """A run by name below `runs`, by path, or the newest one. Raises `Refusal`."""
    if name is None:
        runs = every()
        if not runs:
            raise refuse(
                "runs", "there is no run here yet", "Start one: gemma-bench --run quickstart"
            )
        return next((run for run in runs if run.is_alive()), runs[0])
    run = next((run for run in (RunDir(RUNS / name), RunDir(Path(name))) if run.exists), None)
    if run is None:
        known = ", ".join(run.name for run in every()[:5]) or "none"
        raise refuse(name, "there is no such run", f"Give a name or a path; newest: {known}")
    return run


def every() -> list[RunDir]:
    """All runs below `runs`, newest first."""
    try:
        runs = [RunDir(path) for path in RUNS.iterdir()]
    except OSError:
        return []
    return sorted((run for run in runs if run.exists), key=lambda run: run.name, reverse=True)


def _occupied(run: RunDir) -> Exception:
    if run.is_alive():
        fix = f"Follow it: gemma-bench attach {run.path}"
        return refuse(str(run.path), "a run is at work in it", fix, exit_code=3)
    return refuse(str(run.path), "it holds a run already", "Give another --out")


def _free_name(recipe_name: str) -> Path:
    name = f"{datetime.now():%Y-%m-%d-%H%M}-{recipe_name}"
    if not _NAME.fullmatch(name):
        fix = "Rename the recipe file: letters, digits, dot, dash and underscore, at most 45"
        raise refuse(recipe_name, "no name for a run directory", fix)
    path, count = RUNS / name, 1
    while path.exists():
        count += 1
        path = RUNS / f"{name}-{count}"
    return path


def append_line(path: Path, line: bytes) -> None:
    """Append one line with one write, so that no reader sees two lines glued."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _write_whole(path: Path, document: dict[str, Any]) -> None:
    partial = path.with_suffix(".part")
    _write_new(partial, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")
    partial.replace(path)


def _write_new(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
