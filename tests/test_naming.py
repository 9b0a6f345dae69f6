"""A recipe is saved under a new name from the setup screen."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from bench_app import GOOD, make_app, until
from terminal import APP, Tmux
from test_editing import changes, keys, opened, typed
from test_preview_screen import enabled, every_line, told
from textual.pilot import Pilot

from workbench.screens.dialogs import NamingScreen
from workbench.screens.setup import SetupScreen

SIZE = (80, 24)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)


def recipe(pilot: Pilot[Any]) -> str:
    screen = pilot.app.screen
    assert isinstance(screen, SetupScreen)
    return screen.choice.recipe


def verdict(pilot: Pilot[Any]) -> str:
    return str(pilot.app.screen.query_one("#verdict").render())


async def asked(pilot: Pilot[Any], name: str) -> None:
    await pilot.press("w")
    await until(pilot, lambda: isinstance(pilot.app.screen, NamingScreen))
    await pilot.press(*name)


async def test_what_is_changed_is_saved_and_chosen(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        await typed(pilot, "4")
        await pilot.press("enter")
        await asked(pilot, "small")
        assert "small.toml in this folder" in verdict(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: recipe(pilot) == "small.toml")
        assert tomllib.loads(Path("small.toml").read_text())["adapter"]["r"] == 4
        assert Path("small.toml").read_text().startswith("# Teach a small Gemma")
        assert Path("facts.toml").read_text() == GOOD
        await until(pilot, lambda: "small.toml" in every_line(pilot)[0])
        assert "change" not in every_line(pilot)[0]
        assert keys(pilot).key.text == "4"
        assert keys(pilot).key.origin == "recipe"
        assert keys(pilot).has_focus
        await pilot.press("escape")
        rows = [row.strip() for row in told(pilot, "#recipe").splitlines()]
        assert rows[-2:] == ["of this folder", "small.toml"]
        assert "facts.toml" in rows, "its changes went along"
        await until(pilot, lambda: "start" in enabled(pilot))
        await pilot.press("home")
        assert (recipe(pilot), changes(pilot)) == ("facts.toml", {})


async def test_a_recipe_is_copied_from_a_list_that_is_filtered(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "preview" in enabled(pilot))
        await pilot.press("slash", *"facts", "enter")
        await asked(pilot, "copy")
        await pilot.press("enter")
        await until(pilot, lambda: recipe(pilot) == "copy.toml")
        assert Path("copy.toml").read_text() == GOOD
        await until(pilot, lambda: "preview" in enabled(pilot))
        assert "facts.toml" in told(pilot, "#recipe")


async def test_a_name_is_judged_while_it_is_typed_and_can_be_left(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "preview" in enabled(pilot))
        before = sorted(path.name for path in tmp_path.iterdir())
        await asked(pilot, "")
        await pilot.press("enter")
        await pilot.press(*"facts", "enter")
        assert "facts.toml is there already" in verdict(pilot)
        await pilot.press("slash", "enter")
        assert "Letters, digits" in verdict(pilot)
        assert isinstance(pilot.app.screen, NamingScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))
        assert recipe(pilot) == "facts.toml"
        assert sorted(path.name for path in tmp_path.iterdir()) == before


async def test_a_folder_that_is_gone_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "preview" in enabled(pilot))
        await asked(pilot, "small")
        (tmp_path / "gone").rmdir()
        await pilot.press("enter")
        assert "No such file" in verdict(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: "preview" in enabled(pilot))


async def test_a_recipe_that_is_no_toml_is_not_saved(tmp_path: Path) -> None:
    Path("torn.toml").write_text("[data")
    async with make_app(tmp_path, recipes=["torn.toml"]).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "not valid TOML" in told(pilot, "#problems"))
        await pilot.press("w")
        assert isinstance(pilot.app.screen, SetupScreen)


def test_a_recipe_is_changed_and_saved_in_a_terminal(tmp_path: Path) -> None:
    with Tmux(tmp_path, APP, 80, 24) as tmux:
        tmux.until("Nothing is wrong")
        tmux.press("e")
        tmux.until("model.path")
        tmux.press(*["Down"] * 6, "Enter")
        tmux.until("Take it")
        tmux.press("C-u", "7", "Enter")
        tmux.until("1 change")
        tmux.press("w")
        tmux.until("its name")
        tmux.press("m", "y", "Enter")
        tmux.until("Saved as my.toml")
        assert tomllib.loads((tmp_path / "my.toml").read_text())["adapter"]["r"] == 7
        tmux.press("Escape")
        tmux.until("of this folder")
        tmux.until("lora, r 7,")
