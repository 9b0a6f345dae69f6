"""Ways into the playground and out of it: opened, failed, died; hostile talk."""

import signal
from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from playground_pilot import (
    MARKUP,
    SIZE,
    SIZES,
    UNSAFE,
    asked,
    every_line,
    field,
    notes,
    opened,
    screen_of,
    see,
    told,
)
from staged_playground import Staged, opening
from test_plain import HOSTILE

from engine.events import Answered, Event, Failed, Opened, Phase, Piece
from engine.run.rundir import RunDir
from workbench.screens.bench_screen import NO_CHECKPOINT
from workbench.screens.playground import PlaygroundScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.widgets.frame import TitleBar


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize("key", ["escape", "f1"])
async def test_keys_of_a_playground_that_failed(tmp_path: Path, key: str) -> None:
    staged = Staged(opening()[:2], log="Loading weights\nOutOfMemory\n")
    failed = Failed(phase="loading", error="CUDA out of memory", hint="Stop the run", log="x")
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        staged.tell([failed])
        await see(pilot, "#standing", "CUDA out of memory")
        assert "while loading" in told(pilot, "#standing")
        assert "Stop the run" in told(pilot, "#standing")
        assert "OutOfMemory" in told(pilot, "#log")
        assert "failed" in told(pilot, TitleBar)
        await pilot.press("tab", "pageup", "ctrl+s", key)
        is_there = any(isinstance(s, PlaygroundScreen) for s in pilot.app.screen_stack)
        assert is_there is (key == "f1")


async def test_an_engine_that_dies_is_told_and_its_answers_stay(tmp_path: Path) -> None:
    staged = Staged(opening(), log="the last line\n")
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await opened(pilot, staged)
        await asked(pilot, staged, 1)
        staged.die(signal.SIGKILL)
        await see(pilot, "#standing", "the engine was killed by signal 9")
        assert "the last line" in told(pilot, "#log")
        assert "Kujula" in told(pilot, "#talk")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, PlaygroundScreen))


async def test_an_engine_that_can_not_start_is_told(tmp_path: Path) -> None:
    def start(_: RunDir) -> Any:
        raise OSError(28, "No space left on device")

    staged = Staged()
    staged.start = start  # type: ignore[method-assign]
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await see(pilot, "#standing", "No space left on device")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, PlaygroundScreen))


def with_checkpoint(run: RunDir) -> None:
    run.checkpoint(80).mkdir(parents=True)


@pytest.mark.parametrize("name", ["healthy", "died"])
async def test_it_is_opened_from_a_run_with_a_checkpoint(tmp_path: Path, name: str) -> None:
    run = lay_down_runs()[name]
    async with make_app(tmp_path, run).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await pilot.press("t")
        assert NO_CHECKPOINT in notes(pilot)
        assert isinstance(pilot.app.screen, RunScreen)
        with_checkpoint(run)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlaygroundScreen))
        assert screen_of(pilot).run.path == run.path
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))


async def test_it_is_opened_from_the_table_of_runs(tmp_path: Path) -> None:
    runs = lay_down_runs()
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.screen.query("DataTable"))
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        await until(pilot, lambda: screen.selected)
        assert screen.selected is not None
        await pilot.press("t")
        assert NO_CHECKPOINT in notes(pilot)
        with_checkpoint(runs[screen.selected.run.name.split("-")[-1]])
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlaygroundScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))


def hostile(text: str) -> list[Event]:
    """Everything that an engine can say of such a text."""
    where = {"run": text, "adapter": text, "model": text, "device": text, "dtype": text}
    return [Phase(name=text, detail=text), Opened(step=None, quantization="none", **where)]


@SIZES
@pytest.mark.parametrize("turned", range(0, len(HOSTILE), 4))
async def test_no_text_steers_the_terminal(
    tmp_path: Path, turned: int, size: tuple[int, int]
) -> None:
    payloads = [*HOSTILE.values()][turned:] + [*HOSTILE.values()][:turned]
    text = " ".join([*payloads[:2], MARKUP, *payloads]) + "\n\t" + payloads[0]
    staged = Staged(log=text)
    seen: list[str] = []
    async with make_app(tmp_path).run_test(size=size) as pilot:
        await opened(pilot, staged)
        for event in hostile(text):
            staged.tell([event])
            await until(pilot, lambda: "[red]" in told(pilot, "#talk-head"))
            seen += every_line(pilot)
        for key in ("system", "temperature"):
            field(pilot, key).insert_text_at_cursor(text)
            await pilot.pause()
            seen += every_line(pilot)
        field(pilot, "temperature").value = "0"
        field(pilot, "prompt").insert_text_at_cursor(text)
        await pilot.press("enter")
        await pilot.pause()
        seen += every_line(pilot)
        staged.tell(
            [
                Piece(id=1, side="base", text=text, tokens=1, seconds=1.0),
                Answered(id=1, side="base", prompt_tokens=1, tokens=1, seconds=1.0, reason=text),
                Answered(id=1, side="adapter", prompt_tokens=1, tokens=1, seconds=1.0,
                         reason="failed", error=text),
            ]
        )  # fmt: skip
        await see(pilot, TitleBar, "ready")
        seen += every_line(pilot)
        await pilot.press("ctrl+s", "ctrl+home", "pagedown")
        seen += every_line(pilot)
        await pilot.click("#talk", offset=(20, 2))
        staged.tell([Failed(phase=text, error=text, hint=text, log=text)])
        await see(pilot, TitleBar, "failed")
        seen += every_line(pilot)
        assert pilot.app.is_running
        assert isinstance(pilot.app.screen, PlaygroundScreen)
    assert sum("[red]" in line for line in seen) > 5
    assert [ascii(line) for line in seen if UNSAFE.search(line)] == []
