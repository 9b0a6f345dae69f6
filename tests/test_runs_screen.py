"""The table of runs: found, put in order, marked, deleted; through Textual's pilot."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from recording import at_work, lay_down, load
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot
from textual.widgets import DataTable

from engine.problems import Refusal
from engine.run import run_summary, rundir
from engine.run.rundir import RunDir
from engine.run.runs import every
from workbench.run_view import run_table
from workbench.run_view.run_table import Entry
from workbench.screens.compare import CompareScreen
from workbench.screens.dialogs import ConfirmScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.widgets.choices import Choices

SIZE = (100, 30)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs() -> Iterator[dict[str, RunDir]]:
    runs = lay_down_runs()
    with at_work(runs["live"]):
        yield runs


async def opened(pilot: Pilot[Any], count: int = 4) -> DataTable[Any]:
    await pilot.press("r")
    table: DataTable[Any] = pilot.app.screen.query_one(DataTable)
    await until(pilot, lambda: table.row_count == count)
    return table


def names(table: DataTable[Any]) -> list[str]:
    return [
        table.get_row_at(row)[1].plain.partition("-09")[2][3:] for row in range(table.row_count)
    ]


def said(pilot: Pilot[Any]) -> str:
    return " ".join(notice.message for notice in pilot.app._notifications)


async def test_words_narrow_the_table(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("slash", *"memory")
        await until(pilot, lambda: table.row_count == 2)
        assert names(table) == ["died", "failed"]
        await pilot.press(*" cuda", "enter")
        await until(pilot, lambda: names(table) == ["failed"])
        assert table.has_focus
        await pilot.press("slash", "escape")
        await until(pilot, lambda: table.row_count == 4)
        assert table.has_focus


async def test_the_cursor_stays_on_its_run_in_every_order(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("down", "down")
        seen = []
        for _ in run_table.ORDERS:
            await pilot.pause()
            seen.append(names(table))
            assert names(table)[table.cursor_row] == "healthy"
            await pilot.press("o")
        assert names(table) == seen[0] == ["died", "failed", "healthy", "live"]
        assert seen[1] == ["live", "healthy", "failed", "died"]
        assert seen[2] == ["live", "healthy", "failed", "died"]
        assert seen[3] == ["healthy", "live", "died", "failed"]
        assert seen[4] == ["healthy", "live", "died", "failed"]


async def test_a_run_is_deleted_once_confirmed(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        assert runs["died"].exists
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: table.row_count == 3)
        assert not runs["died"].path.exists()
        assert runs["failed"].path.exists()


async def test_a_run_at_work_is_not_deleted_and_the_key_says_why(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("down", "down", "down", "d")
        await pilot.pause()
        assert isinstance(pilot.app.screen, RunsScreen)
        assert "stop it first" in said(pilot)
    with pytest.raises(Refusal, match="at work"):
        runs["live"].delete()
    assert runs["live"].exists


async def test_marked_runs_are_compared(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("space", "c")
        await pilot.pause()
        assert "Mark 2 to 6 runs first" in said(pilot)
        await pilot.press("down", "down", "space")
        marks = [table.get_row_at(row)[0].plain for row in range(4)]
        assert marks == ["*", " ", "*", " "]
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        screen = pilot.app.screen
        assert isinstance(screen, CompareScreen)
        await until(pilot, lambda: screen.sides)
        assert [side.state.name for side in screen.sides] == ["died", "done"]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
        await pilot.press("space")
        assert [table.get_row_at(row)[0].plain for row in range(4)] == ["*", " ", " ", " "]


async def test_the_path_is_copied(tmp_path: Path, runs: dict[str, RunDir]) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("y")
        assert pilot.app.clipboard == str(runs["died"].path.resolve())


async def test_no_run_at_all(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, 0)
        await pilot.press("d", "space", "y", "o", "enter")
        await pilot.pause()
        assert "There is no run to do that with" in said(pilot)


async def test_a_run_that_goes_takes_its_mark_along(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("space", "down", "space", "up")
        shutil.rmtree(runs["died"].path)
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("c")
        await pilot.pause()
        assert isinstance(pilot.app.screen, RunsScreen)


def test_a_glance_at_broken_files_tells_what_it_can(tmp_path: Path) -> None:
    run = lay_down(tmp_path, "torn", load("live"))
    run.plan.write_text("[1, 2")
    run.request.write_bytes(b"\xff")
    seen = run_summary.summarize(run)
    assert (seen.recipe, seen.model, seen.total_steps) == ("", "", None)
    assert seen.last_step is not None
    assert seen.last_step.step == 90


def test_a_glance_reads_request_and_plan(tmp_path: Path) -> None:
    run = lay_down(tmp_path, "whole", load("healthy"))
    recipe = {"model": {"path": "google/gemma-4-E2B-it"}}
    run.request.write_text(json.dumps({"name": "facts", "recipe": recipe}))
    run.write_plan({"plan": {"total_steps": 240}})
    seen = run_summary.summarize(run)
    assert (seen.recipe, seen.model, seen.total_steps) == ("facts", "google/gemma-4-E2B-it", 240)
    cells = dict(zip(run_table.COLUMNS, run_table.cells(Entry(run, seen), ()), strict=True))
    assert (cells["state"], cells["step"], cells["loss"]) == ("done", "240/240", "0.0904")
    assert run_table.arranged([Entry(run, seen)], "E2B healthy", "newest") == []
    assert len(run_table.arranged([Entry(run, seen)], "e2b FACTS", "newest")) == 1


def test_deleting_leaves_no_half_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "RUNS", tmp_path)
    run = lay_down(tmp_path, "one", load("healthy"))
    (run.path / "adapter").mkdir()
    run.delete()
    assert every() == []
    assert not run.path.exists()


def test_a_run_that_can_not_go_whole_stays_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lay_down(tmp_path, "one", load("healthy"))
    (run.path / "adapter").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        with pytest.raises(PermissionError):
            run.delete()
    assert run.exists
    run.delete()
    assert not run.path.exists()


def test_what_a_link_leads_to_is_not_deleted(tmp_path: Path) -> None:
    elsewhere = lay_down(tmp_path / "elsewhere", "one", load("healthy"))
    link = RunDir(tmp_path / "link")
    link.path.symlink_to(elsewhere.path)
    with pytest.raises(Refusal, match="a link"):
        link.delete()
    assert elsewhere.exists
    (elsewhere.path / "samples").symlink_to(tmp_path)
    elsewhere.delete()
    assert tmp_path.exists()


async def test_what_is_marked_is_deleted_with_one_confirmation(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        await pilot.press("space", "down", "down", "space", "up", "d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: table.row_count == 2)
        assert names(table) == ["failed", "live"]
        assert not runs["died"].path.exists()
        assert not runs["healthy"].path.exists()


async def test_runs_at_work_are_stopped_with_one_confirmation(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("x")
        await pilot.pause()
        assert "is not at work" in said(pilot)
        await pilot.press("space", *["down"] * 3, "space", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: runs["live"].control.exists())
    assert json.loads(runs["live"].control.read_text())["want"] == "stop"
    assert not runs["died"].control.exists()


async def test_a_mark_on_what_can_not_go_on_says_so(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press(*["down"] * 3, "space", *["up"] * 3, "u")
        await pilot.pause()
        assert "live: It is at work" in said(pilot)


async def test_the_mouse_sorts_opens_and_escape_shows_all(
    tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        table = await opened(pilot)
        column = table.region.x + 4
        await pilot.click(offset=(column, table.region.y + 1))
        await until(pilot, lambda: names(table) == ["live", "healthy", "failed", "died"])
        await pilot.press("slash", *"memory", "enter")
        await until(pilot, lambda: table.row_count == 2)
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 4)
        await pilot.click(offset=(column, table.region.y + 3), times=2)
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_the_wheel_reaches_every_recipe(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        recipes = pilot.app.screen.query_one("#recipe", Choices)
        first = recipes.selected
        for event, chosen in ((MouseScrollDown, "mistaken.toml"), (MouseScrollUp, first)):
            await pilot._post_mouse_events([event], recipes)
            await until(pilot, lambda chosen=chosen: recipes.selected == chosen)


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["", "run", "state", "left", "step", "how it ended"]),
        (80, ["", "run", "state", "left", "step", "loss", "how it ended"]),
        (200, [*run_table.COLUMNS]),
    ],
)
async def test_columns_are_those_that_there_is_room_for(
    tmp_path: Path, runs: dict[str, RunDir], width: int, columns: list[str]
) -> None:
    """And a click on any of them sorts."""
    request = json.loads(runs["live"].request.read_text())
    request["hardware"]["title"] = "RTX 3060, 12 GB"
    runs["live"].request.write_text(json.dumps(request))
    runs["live"].write_plan({"plan": {"total_steps": 240}})
    async with make_app(tmp_path).run_test(size=(width, 24)) as pilot:
        table = await opened(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        assert [str(column.label) for column in table.ordered_columns] == columns
        if width == 200:
            assert set(run_table.ORDER_OF_COLUMN) == {*columns[1:]}
            x = table.region.x + 1
            for column in table.ordered_columns:
                name, width = str(column.key.value), column.get_render_width(table)
                await pilot.click(offset=(x + 1, table.region.y + 1))
                await pilot.pause()
                assert screen._order == run_table.ORDER_OF_COLUMN.get(name, "newest")
                x += width
        await pilot.resize_terminal(200, 24)
        await until(pilot, lambda: len(table.ordered_columns) == len(run_table.COLUMNS))
