"""Keys that arrive in one packet, as over a slow line, are taken one after the other."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from playground_pilot import every_line
from terminal import APP, Pty
from test_terminal import is_painted
from textual import events
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import DataTable, Input

from workbench.patches import keyqueue
from workbench.patches.driver import TerminalApp
from workbench.screens.runs import RunsScreen
from workbench.widgets.lineinput import LineInput


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def at_once(pilot: Pilot[Any], *keys: str) -> None:
    for key in keys:
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_letters_behind_a_change_of_focus_go_to_the_new_one(tmp_path: Path) -> None:
    lay_down_runs()
    async with make_app(tmp_path).run_test(size=(100, 30)) as pilot:
        await pilot.press("r")
        table: DataTable[Any] = pilot.app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count == 4)
        at_once(pilot, "slash", *"dcuda", "enter", "d")
        typed = pilot.app.screen.query_one(LineInput)
        await until(pilot, lambda: typed.value == "dcuda")
        at_once(pilot, "slash", "escape", "q")
        await until(pilot, lambda: not pilot.app.is_running or not typed.value)


async def test_a_screen_that_goes_takes_no_key_along(tmp_path: Path) -> None:
    lay_down_runs()
    async with make_app(tmp_path).run_test(size=(100, 30)) as pilot:
        at_once(pilot, "r", "d", "escape", "n", "r", "f1", "f1", "ctrl+p", "escape", "n", "r")
        at_once(pilot, "o")
        await until(pilot, lambda: "by name" in "".join(every_line(pilot)))


class Slow(Widget, can_focus=True):
    """Takes its time for a key, which then moves the focus."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = asyncio.Event()

    async def key_a(self) -> None:
        await self.may_go_on.wait()
        self.app.query_one(Input).focus()


class SlowApp(TerminalApp):
    """One widget that is slow, and a line."""

    def compose(self) -> ComposeResult:
        yield Slow()
        yield Input()


async def test_a_key_waits_for_one_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyqueue, "_LOOK_EVERY_S", 0.01)
    async with SlowApp().run_test() as pilot:
        slow = pilot.app.query_one(Slow)
        slow.focus()
        await pilot.pause()
        at_once(pilot, "a", "b")
        await asyncio.sleep(0.1)
        slow.may_go_on.set()
        await until(pilot, lambda: pilot.app.query_one(Input).value == "b")


def test_a_packet_that_would_start_a_run_searches_for_it(tmp_path: Path) -> None:
    with Pty(tmp_path, APP) as terminal:
        terminal.until(is_painted)
        terminal.until(lambda written: b"starts the run" in written)
        terminal.press(b"/s")
        terminal.read(2)
        terminal.press(b"\x1b")
        terminal.read(0.5)
        terminal.press(b"q")
        assert terminal.end() == 0
    assert not (tmp_path / "runs").exists()


async def test_a_paste_that_comes_as_keys_is_one_insert(tmp_path: Path) -> None:
    """And starts nothing where no line is typed in, however its letters are bound."""
    lay_down_runs()
    async with make_app(tmp_path).run_test(size=(100, 30)) as pilot:
        await pilot.press("r")
        table: DataTable[Any] = pilot.app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count == 4)
        at_once(pilot, *"zdnq" * 2_000)
        await until(pilot, lambda: pilot.app._notifications)
        assert isinstance(pilot.app.screen, RunsScreen)
        at_once(pilot, "slash", *"dnq" * 2_000, "backspace")
        typed = pilot.app.screen.query_one(LineInput)
        await until(pilot, lambda: typed.value.endswith("dn"))
        assert typed.value == "dnq" * 1_999 + "dn"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_among_many_keys_is_heard(tmp_path: Path, number: signal.Signals) -> None:
    with Pty(tmp_path, APP) as terminal:
        terminal.until(is_painted)
        terminal.press(b"/" + b"abc " * 5_000)
        os.kill(terminal.pid, number)
        assert terminal.end() == 128 + number
