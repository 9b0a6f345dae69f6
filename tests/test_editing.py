"""The keys of a recipe, edited on the setup screen."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from bench_app import BROKEN, GOOD, make_app, until
from test_plain import HOSTILE
from test_preview_screen import MARKUP, UNSAFE, enabled, every_line, told
from textual import events
from textual.pilot import Pilot

from engine.run import runs
from workbench.screens.preview import PreviewScreen
from workbench.screens.run import RunScreen
from workbench.screens.setup import SetupScreen
from workbench.widgets.keylist import KeyList
from workbench.widgets.lineinput import LineInput

SIZE = (80, 24)
KEYS = ["model.path", "model.revision", "model.dtype", "model.quantization",
        "model.host_tables", "adapter.method", "adapter.r", "adapter.lora_alpha",
        "adapter.use_rslora", "adapter.lora_dropout", "adapter.target_modules",
        "adapter.target_experts", "data.sources", "data.max_length",
        "data.truncation", "data.packing"]  # fmt: skip
"""In the order of the list."""


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)


def keys(pilot: Pilot[Any]) -> KeyList:
    return pilot.app.screen.query_one(KeyList)


def row(pilot: Pilot[Any]) -> list[str]:
    """The words of the key that is looked at."""
    name = keys(pilot).key.name.partition(".")[2]
    return next(row for line in keys(pilot).text_rows() if name in (row := line.split()))


def changes(pilot: Pilot[Any]) -> dict[str, str]:
    screen = pilot.app.screen
    assert isinstance(screen, SetupScreen)
    return screen.choice.changes


async def opened(pilot: Pilot[Any], key: str = "model.path") -> None:
    await until(pilot, lambda: "edit" in enabled(pilot))
    await pilot.press("e")
    await until(pilot, lambda: pilot.app.screen.query(KeyList) and keys(pilot).has_focus)
    await pilot.press(*["down"] * KEYS.index(key))
    assert keys(pilot).key.name == key


async def typed(pilot: Pilot[Any], text: str) -> None:
    """Another value in the place of the one that stands there."""
    await pilot.press("enter", "ctrl+u", *text)
    await pilot.pause()


async def test_a_value_is_typed_and_everything_follows(tmp_path: Path) -> None:
    app = make_app(tmp_path, recipes=["quickstart"])
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot, "data.max_length")
        before = told(pilot, "#budget")
        await typed(pilot, "1024")
        assert changes(pilot) == {}
        await pilot.press("enter")
        assert changes(pilot) == {"data.max_length": "1024"}
        assert row(pilot) == ["*", "max_length", "1024", "was", "128"]
        await until(pilot, lambda: told(pilot, "#budget") != before and "start" in enabled(pilot))
        assert "quickstart  1 change" in every_line(pilot)[0]
        await pilot.press("escape")
        await until(pilot, lambda: "data.max_length = 1024" in told(pilot, "#settings"))
        assert "quickstart, changed" in told(pilot, "#recipe")
        assert pilot.app.focused is pilot.app.screen.query_one("#recipe")


async def test_the_run_takes_the_changes_as_set_does(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        await typed(pilot, "4")
        await pilot.press("enter")
        await until(pilot, lambda: "start" in enabled(pilot))
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (run,) = runs.every()
        request = run.read_request()
        assert request.overrides == ("adapter.r=4",)
        assert request.recipe.adapter.r == 4
        assert run.recipe.read_text() == GOOD
        await until(pilot, run.events.exists)
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(run.events.read_bytes().splitlines()[0])["pid"], signal.SIGKILL)


async def test_the_preview_takes_the_changes(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "data.max_length")
        await typed(pilot, "99")
        await pilot.press("enter")
        await until(pilot, lambda: "preview" in enabled(pilot))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, PreviewScreen))
        assert pilot.app.screen._recipe.data.max_length == 99


async def test_what_is_wrong_is_said_while_typing_and_not_taken(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        assert told(pilot, "#help").startswith("Rank of the update.")
        await typed(pilot, "0")
        assert "greater than or equal" in told(pilot, "#help")
        await pilot.press("enter")
        assert changes(pilot) == {}
        assert pilot.app.screen.query(LineInput)
        await pilot.press("backspace", "6")
        assert "greater" not in told(pilot, "#help")
        await pilot.press("x")
        assert "valid integer" in told(pilot, "#help")
        await pilot.press("escape")
        await until(pilot, lambda: not pilot.app.screen.query(LineInput))
        assert changes(pilot) == {}
        assert row(pilot) == ["r", "16", "default"]
        assert keys(pilot).has_focus
        assert "valid integer" not in told(pilot, "#help")


async def test_choices_turn_and_truths_toggle(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "data.truncation")
        await pilot.press("right")
        assert changes(pilot) == {"data.truncation": "cut_middle"}
        await pilot.press("right", "right")
        assert changes(pilot) == {}
        await pilot.press("left", "down", "space")
        assert changes(pilot) == {"data.truncation": "drop", "data.packing": "true"}
        assert row(pilot) == ["*", "packing", "true", "was", "false"]
        await pilot.press("space")
        assert changes(pilot) == {"data.truncation": "drop"}
        await pilot.press("up", "up", "space", "right")
        assert keys(pilot).key.name == "data.max_length"
        assert changes(pilot) == {"data.truncation": "drop"}


async def test_a_choice_may_be_a_word_or_a_truth(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "model.host_tables")
        for text in ("true", "false"):
            await pilot.press("right")
            assert changes(pilot) == {"model.host_tables": text}
            assert row(pilot) == ["*", "host_tables", text, "was", "auto"]
        await pilot.press("right")
        assert changes(pilot) == {}


@pytest.mark.parametrize(
    ("pressed", "key"),
    [("down", "model.revision"), ("j j", "model.dtype"), ("j down k", "model.revision"),
     ("end", "score.max_new_tokens"), ("end home", "model.path"),
     ("pagedown", "adapter.target_modules"),
     ("pagedown pageup", "model.path"), ("up", "model.path"), ("end down", "score.max_new_tokens")],
)  # fmt: skip
async def test_the_keys_of_the_list(tmp_path: Path, pressed: str, key: str) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press(*pressed.split())
        assert keys(pilot).key.name == key
        await pilot.pause()
        assert pilot.app.screen.query_one("#help").border_title == key
        few = "left right change it" if key == "model.dtype" else ""
        assert pilot.app.screen.query_one("#help").border_subtitle == few


async def test_letters_go_through_choices_too(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "model.dtype")
        await pilot.press("l", "l")
        assert changes(pilot) == {"model.dtype": "float16"}
        await pilot.press("h")
        assert changes(pilot) == {"model.dtype": "bfloat16"}


async def test_only_keys_of_the_editor_work_in_it(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        assert not {"edit", "filter", "lists", "attach"} & screen_actions(pilot)
        assert {"start", "preview", "screen.save_as"} <= enabled(pilot)
        await pilot.press("slash", "e", "tab", "escape", "escape")
        await until(pilot, lambda: not pilot.app.screen.has_class("-editing"))
        assert {"edit", "filter", "lists"} <= screen_actions(pilot)


def screen_actions(pilot: Pilot[Any]) -> set[str]:
    """What the screen's own keys do now."""
    screen = pilot.app.screen
    active = screen.active_bindings.values()
    return {each.binding.action for each in active if each.node is screen and each.enabled}


async def test_a_change_is_undone(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        assert "undo" not in enabled(pilot)
        await typed(pilot, "4")
        await pilot.press("enter")
        await pilot.pause()
        assert "undo" in enabled(pilot)
        await pilot.press("u")
        assert changes(pilot) == {}
        await typed(pilot, "5")
        await pilot.press("enter")
        await typed(pilot, "")
        await pilot.press("enter")
        assert changes(pilot) == {}
        assert row(pilot) == ["r", "16", "default"]


async def test_a_mistake_of_the_recipe_is_mended_in_place(tmp_path: Path) -> None:
    Path("rows.jsonl").write_text('{"messages": []}\n')
    Path("zero.toml").write_text(GOOD + "[adapter]\nr = 0\n")
    async with make_app(tmp_path, recipes=["zero.toml"]).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        assert "start" not in enabled(pilot)
        assert "greater than or equal" in told(pilot, "#help")
        await typed(pilot, "4")
        await pilot.press("enter")
        await until(pilot, lambda: "start" in enabled(pilot))
        assert "Nothing is wrong" in told(pilot, "#problems")


async def test_every_recipe_keeps_its_own_changes(tmp_path: Path) -> None:
    app = make_app(tmp_path, recipes=["quickstart", "mistaken.toml"])
    Path("mistaken.toml").write_text(BROKEN)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, "adapter.r")
        await typed(pilot, "4")
        await pilot.press("enter", "escape", "down")
        assert changes(pilot) == {}
        await until(pilot, lambda: "3 problems" in told(pilot, "#problems"))
        await pilot.press("up")
        assert changes(pilot) == {"adapter.r": "4"}
        await until(pilot, lambda: "adapter.r = 4" in told(pilot, "#settings"))


async def test_a_recipe_that_is_no_toml_is_not_edited(tmp_path: Path) -> None:
    Path("torn.toml").write_text("[data")
    async with make_app(tmp_path, recipes=["torn.toml"]).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "not valid TOML" in told(pilot, "#problems"))
        assert "edit" not in enabled(pilot)
        await pilot.press("e")
        assert not pilot.app.screen.query(KeyList)


async def test_the_pointer_and_far_keys(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("end")
        assert keys(pilot).key.name == "score.max_new_tokens"
        assert "score" in told(pilot, KeyList)
        await pilot.press("home")
        assert told(pilot, KeyList).splitlines()[0] == "model"
        await pilot.click(KeyList, offset=(5, 4))
        assert keys(pilot).key.name == "model.dtype"
        await pilot.press("enter")
        await pilot.click(KeyList, offset=(5, 2))
        await until(pilot, lambda: not pilot.app.screen.query(LineInput))
        assert keys(pilot).key.name == "model.path"


async def test_a_window_that_changes_takes_the_typed_line_along(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, "adapter.r")
        await typed(pilot, "4")
        await pilot.resize_terminal(120, 40)
        line = pilot.app.screen.query_one(LineInput)
        place = keys(pilot)
        row = place.content_region.y + place.selected_row
        await until(pilot, lambda: line.region.y == row and line.region.right < 120)
        assert (line.value, line.has_focus) == ("4", True)


@pytest.mark.parametrize("text", [*HOSTILE.values(), MARKUP])
async def test_no_harm_comes_of_a_recipe_s_text(tmp_path: Path, text: str) -> None:
    """Of a comment, of a value, and of what is pasted over it."""
    Path("rows.jsonl").write_text('{"messages": []}\n')
    seen = text.encode("utf-8", "replace").decode()
    escaped = "".join(f"\\U{ord(char):08x}" for char in seen)
    comment = "".join(char for char in seen if char.isprintable() or ord(char) > 0x9F)
    Path("evil.toml").write_text(f'[model]\n# {comment}\nrevision = "{escaped}"\n{GOOD}')
    async with make_app(tmp_path, recipes=["evil.toml"]).run_test(size=SIZE) as pilot:
        await opened(pilot, "model.revision")
        await pilot.press("enter")
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
        pilot.app.screen.query_one(LineInput).post_message(events.Paste(text))
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
        await pilot.press("enter", "escape")
        await pilot.pause()
        assert not [line for line in every_line(pilot) if UNSAFE.search(line)]
