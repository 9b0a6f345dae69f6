"""Runs of one folder or of several: all of them, and those that a name means."""

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from engine import guarded, likeness
from engine.problems import Refusal
from engine.run import rundir
from engine.run.rundir import MINUTE_FORMAT, NAME, RunDir

_MINUTE = re.compile(r"\d{4}-\d\d-\d\d-\d{4}")
_SHOWN = 5
"""Names that a refusal spells out."""


def every(folders: Sequence[Path] = ()) -> list[RunDir]:
    """List those of some folders, else of `runs`, newest first; links that lead elsewhere are none.

    A run that several folders lead to is listed once.
    """
    listed: dict[Path, RunDir] = {}
    for folder in folders or (rundir.RUNS,):
        try:
            inside = [RunDir(path) for path in folder.iterdir()]
        except OSError:
            continue
        for run in inside:
            if run.exists and _is_inside(run, folder):
                listed.setdefault(folder.resolve() / run.name, run)
    return sorted(listed.values(), key=_age, reverse=True)


def find(name: str | None) -> RunDir:
    """Find a run by what its name begins with or holds, by path, or the newest one.

    Raises `Refusal` where there is none, and where several are meant.
    """
    runs = every()
    if name is None:
        if not runs:
            fix = "Start one: gemma-bench --run quickstart"
            raise Refusal.of("runs", "there is no run here yet", fix)
        return next((run for run in runs if run.is_alive()), runs[0])
    below, elsewhere = RunDir(rundir.RUNS / name), RunDir(Path(name))
    if NAME.fullmatch(name) and below.exists:
        if not _is_inside(below, rundir.RUNS):
            fix = f"Give the folder itself: {below.path.resolve()}"
            raise Refusal.of(str(below.path), "it is a link that leads out of the runs", fix)
        return below
    return elsewhere if elsewhere.exists else one(name, runs)


def one(name: str, runs: Sequence[RunDir]) -> RunDir:
    """The run among these that a part of its name means. Raises `Refusal` where not one does."""
    meant = meant_by(name, runs)
    if len(meant) == 1:
        return meant[0]
    if meant:
        reason = f"it means {len(meant)} runs: {_names(meant)}"
        raise Refusal.of(name, reason, "Give more of the name")
    alike = likeness.question(name, [run.name for run in runs])
    fix = f"{alike} Give a name or a path; newest: {_names(runs) or 'none'}".strip()
    raise Refusal.of(name, _why_none(name), fix)


def _why_none(name: str) -> str:
    """What lies where a name leads, as a path or below `runs`, that is no run."""
    for path in (Path(name), rundir.RUNS / name):
        kind = guarded.kind(path) if name else ""
        if kind == guarded.FOLDER and not os.access(path, os.R_OK | os.X_OK):
            return "permission denied"
        if kind:
            return f"there is no such run; what lies there is {kind}"
    return "there is no such run"


def meant_by(name: str, runs: Sequence[RunDir]) -> list[RunDir]:
    """The runs of that name or path, else those whose names begin with it, else hold it."""
    same = [run for run in runs if name in {run.name, str(run.path)}]
    begin = [run for run in runs if name and run.name.startswith(name)]
    return same or begin or [run for run in runs if name and name in run.name]


def _names(runs: Sequence[RunDir]) -> str:
    more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
    return ", ".join(run.name for run in runs[:_SHOWN]) + more


def _is_inside(run: RunDir, folder: Path) -> bool:
    return run.path.resolve().is_relative_to(folder.resolve())


def _age(run: RunDir) -> tuple[str, int, str]:
    """Sort by the minute in the name, where one stands there, and within it by the request."""
    try:
        written_ns = run.request.stat().st_mtime_ns
    except OSError:
        written_ns = 0
    minute = run.name[:15]
    if not _MINUTE.fullmatch(minute):
        minute = f"{datetime.fromtimestamp(written_ns / 1e9):{MINUTE_FORMAT}}"
    return minute, written_ns, run.name
