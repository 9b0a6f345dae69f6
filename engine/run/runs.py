"""The runs below `runs`: all of them, and one by its name."""

import re
from datetime import datetime
from pathlib import Path

from engine.problems import Refusal
from engine.run import rundir
from engine.run.rundir import MINUTE_FORMAT, NAME, RunDir

_MINUTE = re.compile(r"\d{4}-\d\d-\d\d-\d{4}")


def every() -> list[RunDir]:
    """List all of them, newest first; links that lead elsewhere are none."""
    try:
        folders = [RunDir(path) for path in rundir.RUNS.iterdir()]
    except OSError:
        return []
    runs = (run for run in folders if run.exists and _is_inside(run))
    return sorted(runs, key=_age, reverse=True)


def find(name: str | None) -> RunDir:
    """Find a run by name below `runs`, by path, or the newest one. Raises `Refusal`."""
    runs = every()
    if name is None:
        if not runs:
            fix = "Start one: gemma-bench --run quickstart"
            raise Refusal.of("runs", "there is no run here yet", fix)
        return next((run for run in runs if run.is_alive()), runs[0])
    below, elsewhere = RunDir(rundir.RUNS / name), RunDir(Path(name))
    if NAME.fullmatch(name) and below.exists:
        if not _is_inside(below):
            fix = f"Give the folder itself: {below.path.resolve()}"
            raise Refusal.of(str(below.path), "it is a link that leads out of the runs", fix)
        return below
    if elsewhere.exists:
        return elsewhere
    newest = ", ".join(run.name for run in runs[:5]) or "none"
    raise Refusal.of(name, "there is no such run", f"Give a name or a path; newest: {newest}")


def _is_inside(run: RunDir) -> bool:
    return run.path.resolve().is_relative_to(rundir.RUNS.resolve())


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
