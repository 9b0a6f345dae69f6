"""The list of recipes on the setup screen: its keys, its filter, and the user's own recipes."""

import os
from pathlib import Path
from typing import Any

import pytest
from bench_app import BROKEN, GOOD, make_app, until
from test_plain import HOSTILE
from test_preview_screen import MARKUP, UNSAFE, enabled, every_line, told
from textual import events
from textual.pilot import Pilot

from engine.recipe import files, nearby
from workbench.screens.setup import SetupScreen
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.widgets.choices import Choices
from workbench.widgets.lineinput import LineInput

SIZE = (80, 24)
NAMES = ["quickstart", "../there/three.toml", "../there/one.toml", "../there/two.toml"]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Recipes in another folder; none in the current one."""
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text('{"messages": []}\n')
    for name in ("three", "one", "two"):
        (tmp_path / f"there/{name}.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("NO_COLOR", raising=False)


def recipes(pilot: Pilot[Any]) -> Choices:
    return pilot.app.screen.query_one("#recipe", Choices)


def listed(pilot: Pilot[Any]) -> list[str]:
    return [row.strip() for row in recipes(pilot).text_rows()]


def choice(pilot: Pilot[Any]) -> str:
    screen = pilot.app.screen
    assert isinstance(screen, SetupScreen)
    assert screen.choice.recipe == recipes(pilot).selected
    return screen.choice.recipe


async def looked(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: "preview" in enabled(pilot))


async def seen(pilot: Pilot[Any], text: str) -> None:
    await until(pilot, lambda: text in told(pilot, "#settings"))


@pytest.mark.parametrize(
    ("keys", "at"),
    [("down", 1), ("j", 1), ("end", 3), ("pagedown", 3), ("end up", 2), ("end k", 2),
     ("end home", 0), ("end pageup", 0), ("up", 0), ("end down", 3),
     ("shift+tab down tab down", 1)],
)  # fmt: skip
async def test_the_keys_of_the_list(tmp_path: Path, keys: str, at: int) -> None:
    async with make_app(tmp_path, recipes=NAMES).run_test(size=SIZE) as pilot:
        await looked(pilot)
        await pilot.press(*keys.split())
        assert choice(pilot) == NAMES[at]


async def test_what_is_typed_narrows_the_list_and_all_follows(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=NAMES).run_test(size=SIZE) as pilot:
        await looked(pilot)
        assert "/ filters" in "".join(every_line(pilot))
        await pilot.press("slash", *"THERE")
        assert listed(pilot) == NAMES[1:]
        assert choice(pilot) == NAMES[1]
        await seen(pilot, "Teach a small Gemma a few facts.")
        await pilot.press("down", "down")
        assert choice(pilot) == NAMES[3]
        await pilot.press("up", "enter", "j")
        assert choice(pilot) == NAMES[3]
        assert recipes(pilot).has_focus
        assert listed(pilot) == NAMES[1:]
        await pilot.press("escape")
        assert listed(pilot) == NAMES
        assert choice(pilot) == NAMES[3]
        assert not pilot.app.screen.query_one(LineInput).display


async def test_a_filter_that_is_left_shows_all_again(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=NAMES).run_test(size=SIZE) as pilot:
        await looked(pilot)
        for _ in range(2):
            await pilot.press("slash", *"zzz")
            assert listed(pilot) == ["no name is like that"]
            assert choice(pilot) == NAMES[0]
            await pilot.press("down", "escape")
            assert listed(pilot) == NAMES
            assert choice(pilot) == NAMES[0]
            assert recipes(pilot).has_focus
        await pilot.press("down")
        assert choice(pilot) == NAMES[1]


async def test_keys_go_into_the_filter_while_it_is_typed(tmp_path: Path) -> None:
    async with make_app(tmp_path, recipes=NAMES).run_test(size=SIZE) as pilot:
        await looked(pilot)
        await pilot.press("slash", *"esqnwpj")
        assert pilot.app.screen.query_one(LineInput).value == "esqnwpj"
        assert isinstance(pilot.app.screen, SetupScreen)
        assert not Path("runs").exists()


async def test_own_recipes_are_listed_after_the_first_of_the_projects(tmp_path: Path) -> None:
    Path("mine.toml").write_text(GOOD)
    Path("broken.toml").write_text(BROKEN)
    async with make_app(tmp_path, recipes=NAMES[:1]).run_test(size=SIZE) as pilot:
        await looked(pilot)
        rows = ["to begin with", NAMES[0], "of this folder", "broken.toml", "mine.toml"]
        assert listed(pilot) == rows
        await pilot.press("end")
        assert choice(pilot) == "mine.toml"
        await seen(pilot, "Teach a small Gemma a few facts.")
        await pilot.press("slash", *"in", "enter")
        assert listed(pilot) == ["of this folder", "mine.toml"]
        await pilot.press("escape")
        await pilot.click("#recipe", offset=(4, 3))
        assert choice(pilot) == "mine.toml", "a heading can't be chosen"
        await pilot.click("#recipe", offset=(4, 2))
        assert choice(pilot) == NAMES[0]


async def test_own_recipes_come_and_go(tmp_path: Path) -> None:
    Path("mine.toml").write_text(GOOD)
    async with make_app(tmp_path, recipes=NAMES[:1]).run_test(size=SIZE) as pilot:
        await looked(pilot)
        await pilot.press("end")
        Path("mine.toml").rename("yours.toml")
        await pilot.press("r", "n")
        await until(pilot, lambda: "yours.toml" in listed(pilot))
        assert "mine.toml" not in listed(pilot)
        assert choice(pilot) == NAMES[0]


def test_files_that_are_no_recipes_are_not_listed() -> None:
    """Pipes are not waited for; of a file that can't be read the verdict says why."""
    Path("mine.toml").write_text(GOOD)
    Path("-x.toml").write_text(GOOD)
    Path("pyproject.toml").write_text("[project]\nname = 'x'\n")
    Path("empty.toml").write_text("")
    Path(".hidden.toml").write_text(GOOD)
    Path("torn.toml").write_text("[data")
    Path("bytes.toml").write_bytes(b"\xff")
    Path("folder.toml").mkdir()
    os.mkfifo("pipe.toml")
    Path("gone.toml").symlink_to("nowhere")
    Path("large.toml").write_text(f"[data]\n#{' ' * (1 << 20)}")
    assert nearby.recipes() == ["-x.toml", "bytes.toml", "mine.toml", "torn.toml"]


@pytest.mark.parametrize("text", [*HOSTILE.values(), MARKUP])
async def test_no_harm_comes_of_a_file_s_name(tmp_path: Path, text: str) -> None:
    """Of one that is listed, and of what is pasted into the filter."""
    name = text.replace("/", "").replace("\0", "").encode("utf-8", "surrogatepass")[:100]
    Path(os.fsdecode(b"x" + name + b".toml")).write_text(GOOD)
    async with make_app(tmp_path, recipes=[]).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: choice(pilot).startswith("x"))
        await until(pilot, lambda: "preview" in enabled(pilot))
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
        await pilot.press("e")
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
        await pilot.press("w")
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
        await pilot.press("escape", "escape", "slash")
        pilot.app.screen.query_one(LineInput).post_message(events.Paste(text))
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]


async def test_the_projects_recipes_are_offered_by_generation(tmp_path: Path) -> None:
    every = files.names()
    names = SetupScreen(PrestartedPreview())._names
    async with make_app(tmp_path, recipes=names).run_test(size=SIZE) as pilot:
        await looked(pilot)
        assert choice(pilot) == files.QUICKSTART
        rows = [row for row, _ in recipes(pilot)._lines()]
        assert [name for name in rows if name] == every
        headings = [text for name, text in recipes(pilot)._lines() if not name]
        assert headings == ["to begin with", "Gemma 3", "Gemma 4"]
        assert listed(pilot)[:4] == [headings[0], every[0], headings[1], every[1]]
        Path("mine.toml").write_text(GOOD)
        await pilot.press("r", "n")
        await until(pilot, lambda: listed(pilot)[2:4] == ["of this folder", "mine.toml"])
        assert listed(pilot)[4:6] == [headings[1], every[1]]
        assert choice(pilot) == files.QUICKSTART
        await pilot.press("slash", *"e2b", "enter")
        assert listed(pilot) == ["Gemma 4", *(name for name in every if "-e2b-" in name)]


async def test_a_recipe_without_its_rows_is_shown_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    name = "gemma4-e4b-lora-sft-frames"
    async with make_app(tmp_path, recipes=[name]).run_test(size=(120, 40)) as pilot:
        await seen(pilot, "names what happens in a short video")
        await until(pilot, lambda: "no such file" in told(pilot, "#problems"))
        assert "name a file of yours in data.sources" in told(pilot, "#problems")
        assert not {"start", "preview"} & set(enabled(pilot))


async def test_what_is_known_of_the_choice_stands_while_it_is_checked_again(tmp_path: Path) -> None:
    """Unless the recipe's file is another one."""
    async with make_app(tmp_path, recipes=NAMES[1:]).run_test(size=SIZE) as pilot:
        await looked(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, SetupScreen)
        screen._check()
        assert {"start", "preview", "edit"} <= set(enabled(pilot))
        assert "Nothing is wrong" in told(pilot, "#problems")
        Path(NAMES[1]).write_text(f"{GOOD}\n")
        screen._check()
        assert screen.disabled_reason("preview") == "The choice is being checked"
        await looked(pilot)
        assert not {"start", "edit"} - set(enabled(pilot))
