"""A long run is read by a second process, which leaves nothing behind."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from bench_app import until
from more_runs import many_steps
from recording import lay_down, load, told
from textual.pilot import Pilot

from engine.run.rundir import RunDir
from workbench.app import BenchApp
from workbench.run_view import background_reader
from workbench.run_view.background_reader import Ahead
from workbench.run_view.run_reader import RunReader
from workbench.run_view.run_state import RunState
from workbench.screens.run import RunScreen


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> RunDir:
    monkeypatch.setattr(background_reader, "_WORTH_BYTES", 1 << 20)
    monkeypatch.setattr(background_reader, "_TELL_EVERY_S", 0.05)
    return lay_down(Path("runs"), "2026-11-21-0930-long", many_steps(), "a line\n")


def has_children() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return False


def test_what_comes_back_is_what_would_be_read_here(long: RunDir) -> None:
    found = list(Ahead(long).watches())
    assert len(found) > 1
    steps = [watch.run.steps.last_step for watch in found]
    assert steps == sorted(steps)
    assert found[0].run.steps.last_step < 20_000
    assert told(found[-1].run) == told(RunState().fold(many_steps()))
    assert found[-1].log == ("a line",)
    assert not has_children()


def test_the_last_one_reads_on(long: RunDir) -> None:
    *_, watch = Ahead(long).watches()
    assert not watch.read()
    with long.log.open("a") as log:
        log.write("another\n")
    assert watch.read()
    assert watch.log == ("a line", "another")


def test_a_reader_that_is_left_ends(long: RunDir) -> None:
    for _ in Ahead(long).watches():
        break
    assert not has_children()


def test_short_runs_are_read_here(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-short", load("healthy"))
    reading = Ahead(run)
    assert not has_children()
    (watch,) = reading.watches()
    assert watch.read()
    assert watch.run.done is not None


def test_a_watch_survives_the_pipe(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-short", load("healthy"))
    watch = RunReader(run)
    watch.read()
    assert told(pickle.loads(pickle.dumps(watch)).run) == told(watch.run)


async def test_the_app_shows_what_was_read_ahead(long: RunDir) -> None:
    reading = Ahead(long)
    async with BenchApp(long, ahead=reading).run_test(size=(100, 30)) as pilot:
        screen: Any = screen_of(pilot)
        await until(pilot, lambda: screen.latest.run.steps.last_step == 20_000)
        await until(pilot, lambda: screen.latest.state.name == "died")
        await pilot.app.workers.wait_for_complete()
    assert not has_children()


def screen_of(pilot: Pilot[Any]) -> RunScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunScreen)
    return screen
