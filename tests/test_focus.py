"""What has the focus on each screen, before and after a terminal was too small for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from bench_app import lay_down_runs, make_app, until
from test_preview_screen import enabled
from textual.widgets import DataTable, Input

from workbench.screens.bench_screen import BenchScreen
from workbench.screens.dialogs import NamingScreen
from workbench.screens.runs import RunsScreen
from workbench.widgets.frame import is_displayed

WAYS: dict[str, tuple[Sequence[str], str]] = {
    "setup": ((), "recipe"),
    "setup, its hardware": (("shift+tab",), "hardware"),
    "setup, a recipe searched for": (("slash", "f"), "Input"),
    "keys": (("e",), "keys"),
    "a key's value": (("e", "down", "enter"), "Input"),
    "a name for a recipe": (("w",), "Input"),
    "preview": (("p",), "row"),
    "runs": (("r",), "DataTable"),
    "runs, searched": (("r", "slash", "d"), "Input"),
    "run, its charts": (("r", "enter"), ""),
    "run, its samples": (("r", "enter", "2"), "samples"),
    "compare": (("r", "space", "down", "space", "c", "2"), "figures"),
}
"""The keys that lead somewhere, and what has the focus there: its id, or its class."""


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)])
@pytest.mark.parametrize("way", WAYS)
async def test_the_focus_comes_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    lay_down_runs()
    keys, name = WAYS[way]
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=size) as pilot:
        await until(pilot, lambda: "start" in enabled(pilot))
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
            if isinstance(pilot.app.screen, RunsScreen):
                table = pilot.app.screen.query_one(DataTable)
                await until(pilot, lambda table=table: table.row_count)

        def focused() -> str:
            widget = pilot.app.focused
            if widget is None:
                return ""
            return "Input" if isinstance(widget, Input) else widget.id or type(widget).__name__

        await until(pilot, lambda: focused() == name)
        before = pilot.app.focused
        await pilot.resize_terminal(60, 15)
        await pilot.resize_terminal(*size)
        await until(pilot, lambda: pilot.app.focused is before)
        assert before is None or is_displayed(before)


async def test_what_is_opened_while_it_is_too_small_has_its_focus_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And what is hidden takes no key."""
    monkeypatch.chdir(tmp_path)
    lay_down_runs()
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.focused, DataTable))
        await pilot.resize_terminal(40, 10)
        await pilot.press("n", "r", "n", "r")
        assert not isinstance(pilot.app.focused, Input)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: isinstance(pilot.app.focused, DataTable))
        await pilot.press("q")
        await until(pilot, lambda: not pilot.app.is_running)


def test_every_screen_names_its_own() -> None:
    screens = [*BenchScreen.__subclasses__(), NamingScreen]
    assert all(screen.AUTO_FOCUS == "" for screen in screens)
