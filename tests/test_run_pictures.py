"""The screens of runs as pictures, in every state of a run, at one of two sizes.

After a wanted change: `make snapshots`, and look at the pictures.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_app import LOG, lay_down_runs, make_app, until
from more_runs import STATES
from pictures import Compare, followed, is_judged, plain_surroundings
from recording import FORECAST, at_work, compared, lay_down, load, on_card
from textual.pilot import Pilot

from engine.events import Step
from engine.run.rundir import RunDir
from workbench.screens.compare import CompareScreen


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain_surroundings(monkeypatch, tmp_path)


@pytest.fixture
def runs() -> Iterator[dict[str, RunDir]]:
    runs = lay_down_runs()
    made_at_s = time.time() - 3.5 * 3600
    for run in runs.values():
        os.utime(run.request, (made_at_s, made_at_s))
    with at_work(runs["live"]):
        yield runs


@pytest.mark.parametrize(
    ("name", "state", "size"),
    [
        ("live", "running", (80, 24)),
        ("live", "running", (120, 40)),
        ("failed", "failed", (120, 40)),
        ("died", "died", (80, 24)),
    ],
    ids=["live-80x24", "live-120x40", "failed", "died"],
)
def test_run(
    snap_compare: Compare,
    tmp_path: Path,
    runs: dict[str, RunDir],
    name: str,
    state: str,
    size: tuple[int, int],
) -> None:
    app = make_app(tmp_path, runs[name])
    assert snap_compare(app, terminal_size=size, run_before=followed(state))


@pytest.mark.parametrize("key", ["2", "3", "4", "q"])
def test_run_after_a_key(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir], key: str
) -> None:
    app = make_app(tmp_path, runs["live"])
    assert snap_compare(app, terminal_size=(80, 24), run_before=followed("running", key))


def test_run_beside_its_forecast(snap_compare: Compare, tmp_path: Path) -> None:
    told = compared(on_card(load("healthy")))
    run = lay_down(Path("runs"), "2026-11-21-0931-healthy", told, LOG, FORECAST)
    app = make_app(tmp_path, run)
    assert snap_compare(app, terminal_size=(120, 40), run_before=followed("done", "5"))


def test_runs(snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 4)

    assert snap_compare(make_app(tmp_path), terminal_size=(120, 40), run_before=steps)


def test_runs_found_and_marked(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 4)
        await pilot.press("space", "down", "space", "slash", *"memory")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 2)
        await pilot.press("enter")

    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=steps)


@pytest.mark.parametrize(("size", "keys"), [((120, 40), ""), ((80, 24), "2")], ids=["all", "2"])
def test_compare(
    snap_compare: Compare,
    tmp_path: Path,
    runs: dict[str, RunDir],
    size: tuple[int, int],
    keys: str,
) -> None:
    for at, name in enumerate(("healthy", "died")):
        recipe = {"adapter": {"r": 8 << at}, "data": {"max_length": 512}}
        runs[name].request.write_text(json.dumps({"name": name, "recipe": recipe}))
    runs["live"].request.write_text(json.dumps({"name": "live", "recipe": {}}))

    async def steps(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: is_judged(pilot))
        screen = CompareScreen([runs[name] for name in ("healthy", "died", "live")])
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: screen.sides)
        await pilot.press(*keys)

    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=steps)


@pytest.mark.parametrize("name", ["not-finite", "resumed", "just-begun"])
def test_run_in_rarer_states(snap_compare: Compare, tmp_path: Path, name: str) -> None:
    make, state = STATES[name]
    run = lay_down(Path("runs"), f"2026-11-21-0931-{name}", make(), LOG)
    last_step = max((event.step for event in make() if isinstance(event, Step)), default=-1)

    async def steps(pilot: Pilot[Any]) -> None:
        await followed(state)(pilot)
        await until(pilot, lambda: pilot.app.screen.latest.run.steps.last_step == last_step)
        await pilot.pause(0.5)

    assert snap_compare(make_app(tmp_path, run), terminal_size=(80, 24), run_before=steps)


def test_run_from_near(snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]) -> None:
    steps = followed("done", "left", "plus", "plus", "shift+left", "l")
    app = make_app(tmp_path, runs["healthy"])
    assert snap_compare(app, terminal_size=(120, 56), run_before=steps)
