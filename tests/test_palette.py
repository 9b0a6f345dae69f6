"""Commands, themes and jumps, which work on every screen; through Textual's pilot."""

from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from recording import lay_down, load
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen

from engine import user_dirs
from workbench.screens.dialogs import JumpScreen
from workbench.screens.help import HelpScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.text import saved_theme


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def is_on(pilot: Pilot[Any], kind: type[Screen[Any]]) -> bool:
    return isinstance(pilot.app.screen, kind)


async def test_the_palette_does_what_a_key_does(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.run.done)
        await pilot.press("ctrl+p", *"log scale")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: screen.view.is_log)
        assert is_on(pilot, RunScreen)


async def test_the_palette_names_each_key_once_and_no_disabled_one(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    app = make_app(tmp_path, run)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.run.done)
        titles = [command.title for command in app.get_system_commands(screen)]
        assert len(titles) == len(set(titles))
        assert {"Zoom in", "Runs", "Theme", "Quit", "Back"} <= set(titles)
        assert not {"Stop", "Save now", "Mark"} & set(titles)


async def test_a_theme_is_kept_for_the_next_start(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.theme == "bench"
        app.theme = "nord"
        await pilot.pause()
    assert saved_theme.read() == "nord"
    assert make_app(tmp_path).theme == "nord"
    (user_dirs.data() / "theme").write_bytes(b"no such \xff\x1b[31m")
    assert make_app(tmp_path).theme == "bench"


async def test_every_theme_can_be_drawn(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    app = make_app(tmp_path, run)
    async with app.run_test(size=(80, 24)) as pilot:
        assert len(app.available_themes) > 10
        for name in app.available_themes:
            app.theme = name
            await pilot.pause()
            assert app.screen.query_one("#loss").render_lines(app.screen.query_one("#loss").region)


async def test_a_letter_jumps_to_a_pane(tmp_path: Path) -> None:
    run = lay_down(Path("runs"), "2026-11-21-0930-one", load("healthy"))
    async with make_app(tmp_path, run).run_test(size=(120, 40)) as pilot:
        screen = pilot.app.screen
        await pilot.press("ctrl+o")
        await until(pilot, lambda: is_on(pilot, JumpScreen))
        await pilot.press("d")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert screen.focused is not None
        assert screen.focused.id == "samples"
        await pilot.press("ctrl+o", "z")
        await until(pilot, lambda: pilot.app.screen is screen)
        assert screen.focused.id == "samples"


async def test_help_palette_and_jumps_open_on_every_screen(tmp_path: Path) -> None:
    lay_down_runs()
    async with make_app(tmp_path).run_test(size=(80, 24)) as pilot:
        for key in ("n", "r"):
            await pilot.press(key)
            await pilot.press("ctrl+p")
            await until(pilot, lambda: is_on(pilot, CommandPalette))
            await pilot.press("escape", "ctrl+o")
            await until(pilot, lambda: is_on(pilot, JumpScreen))
            await pilot.press("escape", "f1")
            await until(pilot, lambda: is_on(pilot, HelpScreen))
            await pilot.press("f1")
        assert is_on(pilot, RunsScreen)
