"""The run screen's charts, marks and meters; through Textual's pilot."""

from pathlib import Path
from typing import Any

import pytest
from bench_app import make_app, until
from more_runs import STATES, lay_down_dpo, lay_down_empty
from recording import at_work, lay_down, load
from textual.pilot import Pilot

from engine import events
from engine.events import Hello, Mark, Step
from engine.run.rundir import RunDir
from workbench.run_view import run_reader, use_it
from workbench.screens.dialogs import UseItScreen
from workbench.screens.run import RunScreen
from workbench.widgets.answers import Samples
from workbench.widgets.canvas import Canvas, Pager
from workbench.widgets.chart import Chart
from workbench.widgets.frame import TitleBar


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


async def followed(pilot: Pilot[Any]) -> RunScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen.latest.state.name != "starting")
    await until(pilot, lambda: screen.latest.run.hello or not screen.run.events.exists())
    return screen


def headline(screen: RunScreen, chart: str) -> str:
    return screen.query_one(f"#{chart}", Chart).text_rows()[0]


async def test_all_charts_move_together(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(120, 56)) as pilot:
        screen = await followed(pilot)
        charts = list(screen.query(Chart))
        assert len(charts) == 6
        await pilot.press("left", "left", "plus")
        assert all("step 236" in chart.text_rows()[0] for chart in charts)
        assert all(chart.text_rows()[-1].split()[-1] == "240" for chart in charts)
        assert all(chart.text_rows()[-1].split()[0] == "121" for chart in charts)
        await pilot.press("minus", "0")
        assert not any("step" in chart.text_rows()[0] for chart in charts)
        await pilot.hover("#loss", offset=(30, 4))
        await until(pilot, lambda: "step" in headline(screen, "other"))
        await pilot.hover("#samples")
        await until(pilot, lambda: "step" not in headline(screen, "other"))


async def test_every_series_can_be_chosen(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(80, 24)) as pilot:
        screen = await followed(pilot)
        chart = screen.query_one("#other", Chart)
        seen = []
        for _ in screen.metrics:
            seen.append(chart.metric.title)
            assert chart.border_title == chart.metric.title
            await pilot.press("v")
        assert seen[0] == chart.metric.title == "token accuracy"
        assert {"learning rate", "gradient norm", "tokens/s", "loss"} < set(seen)


async def test_the_loss_is_compared_with_what_is_sane(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(120, 40)) as pilot:
        screen = await followed(pilot)
        # (1 - 0.9799) * ln(4096)
        assert "sane below 0.1672" in headline(screen, "loss")
        await pilot.press("l")
        assert any("0.1" in row.partition("│")[0] for row in rows(screen, "loss"))


def rows(screen: RunScreen, chart: str) -> list[str]:
    return screen.query_one(f"#{chart}", Chart).text_rows()


async def test_a_mark_is_asked_for_and_shown(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-live", load("live"))
    with at_work(run):
        async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
            screen = await followed(pilot)
            await pilot.press("m")
            assert b'"want": "mark"' in run.control.read_bytes()
            with run.events.open("ab") as file:
                file.write(events.encode(Mark(step=90)))
            await until(pilot, lambda: screen.latest.run.marks == (90,))
            await pilot.pause()
            assert "▲" in rows(screen, "loss")[-1]


async def test_pausing_holds_the_view_and_not_the_run(tmp_path: Path) -> None:
    recorded = load("healthy")
    run = lay_down(Path("runs"), "2026-11-21-0930-live", recorded[:60])
    with at_work(run):
        async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
            screen = await followed(pilot)
            await until(pilot, lambda: screen.latest.run.steps.last_step > 20)
            before = rows(screen, "loss")
            await pilot.press("p")
            with run.events.open("ab") as file:
                file.writelines(map(events.encode, recorded[60:200]))
            last_step = max(event.step for event in recorded[:200] if isinstance(event, Step))
            await until(pilot, lambda: screen.latest.run.steps.last_step == last_step)
            await pilot.pause(1.2)
            assert rows(screen, "loss") == before
            assert "view held" in screen.query_one(TitleBar).text_rows()[0]
            assert not run.control.exists()
            await pilot.press("p")
            assert rows(screen, "loss") != before
            assert "view held" not in screen.query_one(TitleBar).text_rows()[0]


async def test_an_ended_run_says_why_it_hears_nothing(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
        await followed(pilot)
        await pilot.press("m")
        told = [notice.message for notice in pilot.app._notifications]
        assert told == ["The run is not at work"]
        assert not run.control.exists()


async def test_the_app_says_how_to_use_an_adapter(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(80, 24)) as pilot:
        screen = await followed(pilot)
        await pilot.press("i")
        assert pilot.app.screen is screen
        assert "has left no adapter" in screen.disabled_reason("use_it")
        run.adapter.mkdir(exist_ok=True)
        (run.adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, UseItScreen))
        pager = pilot.app.screen.query_one(Pager)
        shown = "\n".join("".join(text for text, _ in row) for row in pager.lines(200))
        assert shown.splitlines() == use_it.use_it(run)
        for words in (
            "gemma-bench talk 2026-11-21-0930-one --both",
            "export 2026-11-21-0930-one --as merged",
        ):
            assert words in shown
        await pilot.press("c")
        assert pilot.app.clipboard == use_it.program(run)
        compile(pilot.app.clipboard, "program", "exec")
        await pilot.press("escape")
        assert pilot.app.screen is screen


async def test_meters_show_while_the_run_is_at_work_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-live", load("live"))
    monkeypatch.setattr(run_reader.socket, "gethostname", lambda: "bench")
    with at_work(run):
        async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
            screen = await followed(pilot)
            await until(pilot, lambda: screen.query_one("#usage", Canvas).size.height)
            assert "disk" in screen.query_one("#usage", Canvas).text_rows()[0]
            with run.events.open("ab") as file:
                file.write(events.encode(load("healthy")[-1]))
            await until(pilot, lambda: not screen.query_one("#usage", Canvas).size.height)


def test_meters_are_those_of_the_runs_machine() -> None:
    hello = Hello(schema=1, job="train", pid=1, host="elsewhere", version="0")
    assert not run_reader.is_here(hello)


@pytest.mark.parametrize("name", STATES)
async def test_rare_states_are_shown(tmp_path: Path, name: str) -> None:
    make, state = STATES[name]
    run = lay_down(Path("runs"), f"2026-11-21-0930-{name}", make(), "last words\n")
    async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
        screen = await followed(pilot)
        await until(pilot, lambda: screen.latest.state.name == state and screen.latest.log)
        last_step = max((event.step for event in make() if isinstance(event, Step)), default=-1)
        await until(pilot, lambda: screen.latest.run.steps.last_step == last_step)
        await pilot.press("left", "plus", "l", "v", "2", "left", "3", "4", "5", "1")
        await pilot.pause()


async def test_a_resumed_run_has_one_curve(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-resumed", STATES["resumed"][0]())
    async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
        screen = await followed(pilot)
        await until(pilot, lambda: screen.latest.run.steps.last_step == 150)
        assert len(screen.latest.run.steps) == 150
        assert screen.latest.run.marks == (61,)


async def test_answers_of_long_runs_can_be_gone_through(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-many", STATES["many-steps"][0]())
    async with make_app(tmp_path, run).run_test(size=(80, 24)) as pilot:
        screen = await followed(pilot)
        await until(pilot, lambda: len(screen.latest.run.samples) == 21)
        await pilot.press("2", "left", "left")
        shown = screen.query_one(Samples)
        assert shown.text_rows()[0].startswith("step 18000")
        assert "(18000)" in "\n".join(shown.text_rows())


async def test_kinds_and_keys_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    run = lay_down_dpo(Path("runs"))
    async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
        screen = await followed(pilot)
        await until(pilot, lambda: screen.latest.run.steps.last_step == 50)
        assert "0.69" in headline(screen, "loss")
        assert "not a number" in headline(screen, "other")


async def test_an_engine_that_never_spoke(tmp_path: Path) -> None:
    run: RunDir = lay_down_empty(Path("runs"))
    async with make_app(tmp_path, run).run_test(size=(100, 30)) as pilot:
        screen = await followed(pilot)
        text = " ".join(screen.query_one("#status", Canvas).text_rows())
        assert "died" in text
        assert "before its first step" in text
