"""Every key of the app, through Textual's pilot, on real run directories."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_app import BROKEN, lay_down_runs, make_app, until
from recording import at_work, lay_down, load
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import DataTable

from engine import events
from engine.hardware import profiles
from engine.run.rundir import RunDir
from engine.run.runs import every
from workbench.screens.dialogs import ConfirmScreen
from workbench.screens.help import HelpScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.screens.setup import SetupScreen
from workbench.widgets.canvas import Canvas
from workbench.widgets.frame import KeyLine

SIZE = (100, 30)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs() -> Iterator[dict[str, RunDir]]:
    runs = lay_down_runs()
    with at_work(runs["live"]):
        yield runs


def screen_of(pilot: Pilot[Any]) -> Screen[Any]:
    return pilot.app.screen


def is_on(pilot: Pilot[Any], kind: type[Screen[Any]]) -> bool:
    return isinstance(screen_of(pilot), kind)


def verdict(pilot: Pilot[Any]) -> str:
    return " ".join(screen_of(pilot).query_one("#problems", Canvas).text_rows())


def keys_told(pilot: Pilot[Any]) -> list[str]:
    return screen_of(pilot).query_one("#help-keys", Canvas).text_rows()


def wishes(run: RunDir) -> list[str]:
    return [json.loads(line)["want"] for line in run.wishes().read_new()]


async def test_the_setup_judges_each_recipe(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        assert "start" in enabled(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        assert "learning_rate?" in verdict(pilot)
        assert "start" not in enabled(pilot)
        await pilot.press("s")
        assert not Path("runs").exists()


@pytest.mark.skipif(profiles.detect().device == "cuda", reason="this machine has such a device")
async def test_a_profile_that_is_not_here_is_refused(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        await pilot.press("shift+tab", "down")
        await until(pilot, lambda: "no cuda device" in verdict(pilot))
        assert "start" not in enabled(pilot)


async def test_the_mouse_chooses_and_presses_keys(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        await pilot.click("#recipe", offset=(4, 2))
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        line = screen_of(pilot).query_one(KeyLine).text_rows()[0]
        await pilot.click(KeyLine, offset=(1 + line.index("r Runs"), 0))
        await until(pilot, lambda: is_on(pilot, RunsScreen))


async def test_a_recipe_that_breaks_meanwhile_is_not_started(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        Path("facts.toml").write_text(BROKEN)
        await pilot.press("s")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        assert is_on(pilot, SetupScreen)
        assert not Path("runs").exists()


async def test_start_makes_a_run_and_follows_it(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        await pilot.press("s")
        await until(pilot, lambda: is_on(pilot, RunScreen))
        (run,) = every()
        await until(pilot, run.events.exists)
        hello = events.decode(run.events.read_bytes().splitlines()[0])
        assert isinstance(hello, events.Hello)
        with contextlib.suppress(ProcessLookupError):
            os.kill(hello.pid, signal.SIGKILL)
        screen = screen_of(pilot)
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.state.name == "died")
        assert "signal 9" in screen.latest.state.cause


async def test_a_run_at_work_is_offered(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "attach" in enabled(pilot))
        assert runs["live"].name in screen_of(pilot).query_one("#offer", Canvas).text_rows()[0]
        await pilot.press("a")
        await until(pilot, lambda: is_on(pilot, RunScreen))


async def test_wishes_reach_the_engine(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    run = runs["live"]
    async with make_app(tmp_path, run).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "stop" in enabled(pilot))
        await pilot.press("s", "g", "x")
        await until(pilot, lambda: is_on(pilot, ConfirmScreen))
        assert wishes(run) == ["save", "sample"]
        await pilot.press("escape")
        await until(pilot, lambda: is_on(pilot, RunScreen))
        assert wishes(run) == ["save", "sample"]
        await pilot.press("x")
        await until(pilot, lambda: is_on(pilot, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: wishes(run) == ["save", "sample", "stop"])


async def test_an_ended_run_takes_no_wishes(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path, runs["healthy"]).run_test(size=SIZE) as pilot:
        screen = screen_of(pilot)
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.run.done)
        await pilot.press("s", "g", "x")
        assert not runs["healthy"].control.exists()
        assert is_on(pilot, RunScreen)
        await pilot.app.workers.wait_for_complete()


async def test_a_run_that_grows_is_followed(tmp_path: Path) -> None:
    recorded = load("healthy")
    run = lay_down(Path("runs"), "2026-11-21-0930-grows", recorded[:40])
    with at_work(run):
        async with make_app(tmp_path, run).run_test(size=SIZE) as pilot:
            screen = screen_of(pilot)
            assert isinstance(screen, RunScreen)
            await until(pilot, lambda: len(screen.latest.run.steps) > 10)
            with run.events.open("ab") as file:
                file.writelines(map(events.encode, recorded[40:100]))
            await until(pilot, lambda: len(screen.latest.run.steps) == 100 - 7)


async def test_panes_and_the_way_back(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path, runs["live"]).run_test(size=(80, 24)) as pilot:
        for key, pane in zip("2341", ("samples", "figures", "log", "charts"), strict=True):
            await pilot.press(key)
            await pilot.pause()
            shown = {
                i.id
                for i in screen_of(pilot).query("#charts, #samples, #figures, #log")
                if i.display
            }
            assert shown == {pane}
        await pilot.press("escape")
        await until(pilot, lambda: is_on(pilot, RunsScreen))


async def test_the_log_follows_until_it_is_moved(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    runs["live"].log.write_text("".join(f"line {number}\n" for number in range(100)))
    async with make_app(tmp_path, runs["live"]).run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        log = screen_of(pilot).query_one("#log", Canvas)
        await until(pilot, lambda: "line 99" in log.text_rows())
        await pilot.press("home")
        with runs["live"].log.open("a") as file:
            file.write("line 100\n")
        await pilot.pause(0.6)
        assert log.text_rows()[0] == "line 0"
        await pilot.press("end")
        assert log.text_rows()[-1] == "line 100"


async def test_the_table_of_runs(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await pilot.press("r")
        table = screen_of(pilot).query_one(DataTable)
        await until(pilot, lambda: table.row_count == 4)
        states = [table.get_row_at(row)[2].plain for row in range(4)]
        assert states == ["died", "failed", "done", "running"]
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: is_on(pilot, RunScreen))
        screen = screen_of(pilot)
        assert isinstance(screen, RunScreen)
        assert screen.run.name == runs["healthy"].name
        await pilot.press("n")
        await until(pilot, lambda: "attach" in enabled(pilot))
        await pilot.press("a")
        await until(pilot, lambda: is_on(pilot, RunScreen))
        assert len(pilot.app.screen_stack) == 2
        await pilot.press("r")
        await until(pilot, lambda: is_on(pilot, RunsScreen))


async def test_a_new_state_changes_its_cell(tmp_path: Path) -> None:
    run = lay_down_runs()["live"]
    with at_work(run):
        async with make_app(tmp_path).run_test(size=SIZE) as pilot:
            await pilot.press("r")
            table = screen_of(pilot).query_one(DataTable)
            await until(pilot, lambda: table.row_count == 4)
            with run.events.open("ab") as file:
                file.write(events.encode(load("healthy")[-1]))
            await until(pilot, lambda: table.get_row(run.name)[2].plain == "done")


async def test_quitting_says_that_the_run_goes_on(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    app = make_app(tmp_path, runs["live"])
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: is_on(pilot, RunScreen))
        await pilot.press("q")
        await until(pilot, lambda: is_on(pilot, ConfirmScreen))
        await pilot.press("escape")
        await until(pilot, lambda: is_on(pilot, RunScreen))
        await pilot.press("q", "enter")
        await pilot.pause()
    assert app.return_code == 0
    assert runs["live"].is_alive()
    assert not runs["live"].control.exists()


async def test_quitting_with_nothing_at_work_is_quick(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0


async def test_help_names_the_keys(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Nothing is wrong" in verdict(pilot))
        for key, leave in (("question_mark", "f1"), ("f1", "escape")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(screen_of(pilot), HelpScreen))
            shown = [line for line in keys_told(pilot) if line]
            assert shown[0] == "this pane"
            assert "One line up" in shown[1]
            await pilot.press("pagedown", "pagedown", "pagedown")
            assert keys_told(pilot) != shown
            await pilot.press(*"attach")
            await pilot.pause()
            assert keys_told(pilot) == [
                "this screen", "a                 Follow the run at work (No run is at work)",
            ]  # fmt: skip
            await pilot.press(leave)
            await until(pilot, lambda: isinstance(screen_of(pilot), SetupScreen))


async def test_a_colon_finds_any_action(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(screen_of(pilot), CommandPalette))


async def test_no_color(
    tmp_path: Path, runs: dict[str, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with make_app(tmp_path, runs["live"]).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "stop" in enabled(pilot))
        await pilot.press("r", "n")
        await pilot.pause()


def enabled(pilot: Pilot[Any]) -> set[str]:
    """Actions whose keys work on the screen."""
    active = screen_of(pilot).active_bindings.values()
    return {binding.binding.action for binding in active if binding.enabled}
