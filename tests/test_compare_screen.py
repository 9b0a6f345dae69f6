"""Runs beside each other: what differs, what came of it; through Textual's pilot."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench_app import make_app, until
from recording import at_work, lay_down, load
from textual.pilot import Pilot

from engine import events
from engine.events import Step
from engine.run.rundir import RunDir, RunStatus, State
from workbench.run_view import comparison
from workbench.run_view.comparison import Side
from workbench.run_view.run_state import RunState
from workbench.screens.compare import CompareScreen
from workbench.widgets.canvas import Canvas
from workbench.widgets.chart import Chart


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def recipe(r: int, *paths: str) -> dict[str, Any]:
    return {"adapter": {"r": r, "init": True}, "data": {"sources": [{"path": p} for p in paths]}}


def lay_down_two() -> list[RunDir]:
    runs = [lay_down(Path("runs"), f"2026-11-21-093{at}-r", load("healthy")) for at in range(2)]
    recipes = recipe(8, "one.jsonl"), recipe(32, "one.jsonl", "two.jsonl")
    for run, changed in zip(runs, recipes, strict=True):
        run.request.write_text(json.dumps({"recipe": changed}))
    return runs


async def compared(pilot: Pilot[Any], runs: list[RunDir]) -> CompareScreen:
    screen = CompareScreen(runs)
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.sides)
    return screen


def test_only_keys_that_differ_are_told() -> None:
    sides = [
        Side(str(r), comparison.keys(recipe(r, *paths)), RunState(), State(RunStatus.DONE))
        for r, paths in ((8, ("one",)), (32, ("one", "two")))
    ]
    assert comparison.differences(sides) == [
        ("adapter.r", ("8", "32")),
        ("data.sources[1].path", ("-", '"two"')),
    ]


def test_figures_that_no_run_has_are_left_out() -> None:
    run = RunState().fold(load("healthy"))
    sides = [Side(name, {}, run, State(RunStatus.DONE)) for name in "ab"]
    told = dict(comparison.figures(sides))
    assert told["loss"] == ("0.0904", "0.0904")
    assert told["held-out wordings"] == ("72.0 %", "72.0 %")
    assert "reserved" not in told


def test_prompts_that_one_run_alone_answered_are_left_out() -> None:
    answered, silent = RunState().fold(load("healthy")), RunState()
    sides = [
        Side("a", {}, answered, State(RunStatus.DONE)),
        Side("b", {}, silent, State(RunStatus.DIED)),
    ]
    assert comparison.answers(sides) == []
    assert len(comparison.answers([sides[0], sides[0]])) == 2


async def test_everything_is_on_a_large_screen(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        screen = await compared(pilot, lay_down_two())
        await pilot.pause()
        table = "\n".join(screen.query_one("#figures", Canvas).text_rows())
        assert "adapter.r" in table
        assert "data.sources[1].path" in table
        assert "adapter.init" not in table
        answers = "\n".join(screen.query_one("#answers", Canvas).text_rows())
        assert answers.count("Kujula") == 2
        assert screen.query_one("#loss", Chart).text_rows()[0].split() == [
            "a", "0.0904", "b", "0.0904",
        ]  # fmt: skip


async def test_panes_and_keys_on_a_small_screen(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=(80, 24)) as pilot:
        screen = await compared(pilot, lay_down_two())
        for key, pane in zip("231", ("figures", "answers", "curves"), strict=True):
            await pilot.press(key)
            await pilot.pause()
            shown = {i.id for i in screen.query("#curves, #figures, #answers") if i.display}
            assert shown == {pane}
        other = screen.query_one("#other", Chart)
        await pilot.press("v")
        assert other.metric.title == "learning rate"
        await pilot.press("left")
        assert "step 240" in screen.query_one("#loss", Chart).text_rows()[0]
        await pilot.press("l", "plus")
        assert screen.view.is_log
        assert screen.view.halvings == 1
        await pilot.press("0")
        assert screen.view.halvings == 0
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is not screen)


async def test_six_runs_fit_a_small_screen(tmp_path: Path) -> None:
    runs = [lay_down(Path("runs"), f"2026-11-21-094{at}-six", load("live")) for at in range(6)]
    async with make_app(tmp_path).run_test(size=(80, 24)) as pilot:
        screen = await compared(pilot, runs)
        await pilot.press("3")
        await pilot.pause()
        rows = screen.query_one("#answers", Canvas).text_rows()
        assert [row[0] for row in rows if row[1:3] == "  " and row[0] != " "][:6] == list("abcdef")
        await pilot.press("2")
        await pilot.pause()
        assert all(len(row) <= 76 for row in screen.query_one("#figures", Canvas).text_rows())


async def test_a_run_at_work_is_followed(tmp_path: Path) -> None:
    recorded = load("healthy")
    runs = [
        lay_down(Path("runs"), "2026-11-21-0930-grows", recorded[:40]),
        lay_down(Path("runs"), "2026-11-21-0931-stands", recorded),
    ]
    with at_work(runs[0]):
        async with make_app(tmp_path).run_test(size=(100, 30)) as pilot:
            screen = await compared(pilot, runs)
            with runs[0].events.open("ab") as file:
                file.writelines(map(events.encode, recorded[40:100]))
            last = max(event.step for event in recorded[:100] if isinstance(event, Step))
            await until(pilot, lambda: screen.sides[0].run.steps.last_step == last)
