"""No key is silent: enter does the obvious thing on every row, others say why they do nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from test_focus import WAYS
from test_preview_screen import enabled
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import DataTable, Input

from workbench.screens.bench_screen import BenchScreen
from workbench.screens.dialogs import ConfirmScreen
from workbench.screens.help import HelpScreen
from workbench.screens.playground import PlaygroundScreen
from workbench.screens.rows import RowsScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.text.fuzzy import narrowed
from workbench.widgets.choices import Choices

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lay_down_runs()


def said(pilot: Pilot[Any]) -> str:
    return " ".join(notice.message for notice in pilot.app._notifications)


async def arrived(pilot: Pilot[Any], keys: tuple[str, ...]) -> None:
    await until(pilot, lambda: "start" in enabled(pilot))
    for key in keys:
        await pilot.press(key)
        if isinstance(pilot.app.screen, RunsScreen):
            table = pilot.app.screen.query_one(DataTable)
            await until(pilot, lambda table=table: table.row_count)


async def test_enter_is_a_key_of_every_pane_of_every_screen(tmp_path: Path) -> None:
    """Of a new one too: what can be focused is found by itself, and each screen has its way."""
    walked: set[type[Screen[Any]]] = {PlaygroundScreen}  # what is typed there is sent by enter
    ways = [tuple(keys) for keys, _ in WAYS.values()] + [("d",), ("r", "d"), ("f1",)]
    for keys in ways:
        async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
            await arrived(pilot, keys)
            screen = pilot.app.screen
            walked.add(type(screen))
            for pane in screen.focus_chain:
                screen.set_focus(pane)
                await pilot.pause()
                key = screen.active_bindings.get("enter")
                assert key is not None, f"{keys}: enter does nothing on {pane}"
                assert key.enabled, f"{keys}: enter can't be used on {pane}"
    missing = {screen for screen in BenchScreen.__subclasses__() if "NAME" in vars(screen)}
    assert missing - walked <= {RunScreen} - walked


async def test_enter_leads_from_hardware_to_the_value_of_a_key(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await arrived(pilot, ("shift+tab", "enter"))
        await until(pilot, lambda: pilot.app.focused and pilot.app.focused.id == "recipe")
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.focused and pilot.app.focused.id == "keys")
        await pilot.press("d")
        await pilot.pause()
        assert "Leave the keys first" in said(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)])
async def test_two_clicks_are_enter(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "own.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=size) as pilot:
        await arrived(pilot, ("d",))
        files = pilot.app.screen.query_one(Choices)
        await until(pilot, lambda: isinstance(pilot.app.screen, RowsScreen) and files.selected)
        await pilot.click(files, offset=(4, 1), times=2)
        await until(pilot, lambda: not isinstance(pilot.app.screen, RowsScreen))
        await until(pilot, lambda: "start" in enabled(pilot))
        await pilot.click("#recipe", offset=(4, 1), times=2)
        await until(pilot, lambda: pilot.app.focused and pilot.app.focused.id == "keys")


@pytest.mark.parametrize(
    ("keys", "key", "part"),
    [
        ((), "z", "z does nothing here. f1 lists the keys of this screen"),
        (("p",), "s", "s does nothing here (new run: Start, run: Save now)"),
        (("r",), "escape", "All runs are shown"),
        ((), "escape", "All recipes are shown"),
        (("r", "d"), "x", "x does nothing here ("),
        (("r",), "left_square_bracket", "[ does nothing here"),
    ],
)
async def test_a_key_that_does_nothing_says_so(
    tmp_path: Path, keys: tuple[str, ...], key: str, part: str
) -> None:
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await arrived(pilot, keys)
        await pilot.press(key)
        await until(pilot, lambda: part in said(pilot))
        await pilot.press(key, key)
        assert said(pilot).count(part) == 1


async def test_the_last_hint_stands_alone_and_typing_gives_none(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await arrived(pilot, ("z", "b"))
        await until(pilot, lambda: said(pilot).startswith("b does nothing here"))
        pilot.app.clear_notifications()
        await pilot.press("slash", "z", "pageup", "f12", "left")
        await pilot.pause()
        assert said(pilot) == ""


@pytest.mark.parametrize(
    ("keys", "kind"),
    [(("r", "d"), ConfirmScreen), (("f1",), HelpScreen), (("ctrl+p",), CommandPalette),
     (("slash", "f"), Screen)],
)  # fmt: skip
async def test_ctrl_c_leaves_from_anywhere(
    tmp_path: Path, keys: tuple[str, ...], kind: type[Screen[Any]]
) -> None:
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await arrived(pilot, keys)
        await until(pilot, lambda: isinstance(pilot.app.screen, kind))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not pilot.app.is_running)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", ["gemma3-270m", "gemma4-e2b-korean", "quickstart"]),
        ("e2b", ["gemma4-e2b-korean"]),
        ("G4KOR", ["gemma4-e2b-korean"]),
        ("qkst", ["quickstart"]),
        ("gm 27m", ["gemma3-270m"]),
        ("zz", []),
    ],
)
def test_a_filter_finds_what_is_like_the_words(words: str, shown: list[str]) -> None:
    assert narrowed(["gemma3-270m", "gemma4-e2b-korean", "quickstart"], words, str) == shown


def test_a_filter_of_many_ways_is_quick() -> None:
    """Textual's own would score 10 ** 17 ways."""
    name: Callable[[str], str] = str
    assert narrowed(["a" * 30 + "b" + "a" * 30], "a" * 31, name)


async def test_the_palette_finds_what_a_key_does(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await arrived(pilot, ("ctrl+p", *"rows own"))
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RowsScreen))
