"""Rows of one's own on the setup screen: files nearby, paths that are completed, few keys."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from bench_app import make_app, until
from terminal import APP, Tmux
from test_editing import changes, keys, opened
from test_preview_screen import enabled
from textual.pilot import Pilot
from textual.widgets import Static

from engine.recipe import nearby, rows_glance
from engine.run import runs
from workbench.recipe_editor import path_completion
from workbench.screens.rows import RowsScreen
from workbench.screens.setup import SetupScreen
from workbench.widgets.choices import Choices
from workbench.widgets.lineinput import LineInput

SIZES = [(60, 18), (80, 24), (120, 40)]
TOWNS = "".join(
    json.dumps({"question": f"Where is town {n}?", "answer": f"In land {n}."}) + "\n"
    for n in range(32)
)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "more").mkdir()
    (tmp_path / "towns.jsonl").write_text(TOWNS)
    (tmp_path / "more/table.csv").write_text('prompt;completion\na;b\n"c\nd";e\n')
    (tmp_path / "more/broken.jsonl").write_text('{"text": "a"}\n{"text": \n\n{"text": "b"}\n')
    (tmp_path / "package.json").write_text('["no", "rows"]')
    return tmp_path


def test_a_glance_counts_rows_and_names_columns(here: Path) -> None:
    files = dict(nearby.row_files())
    assert [*files] == ["towns.jsonl", "more/broken.jsonl", "more/table.csv"]
    assert (files["towns.jsonl"].num_rows, files["towns.jsonl"].columns) == (
        32, ("question", "answer"),
    )  # fmt: skip
    assert files["more/broken.jsonl"].broken_lines == (2,)
    assert (files["more/table.csv"].num_rows, files["more/table.csv"].columns) == (
        2, ("prompt", "completion"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "num_rows"),
    [
        ("list.json", '[{"text": "a"}, {"text": "b"}]', 2),
        ("list.jsonl", '[\n{"text": "a"},\n{"text": "b"}\n]\n', 2),
        ("indented.jsonl", '{\n "text": "a"\n}\n', None),
        ("rows.parquet", "PAR1", None),
        ("rows.jsonl.gz", "zipped", None),
        ("empty.jsonl", "", None),
    ],
)
def test_what_a_glance_cannot_tell_it_does_not_say(
    here: Path, name: str, text: str, num_rows: int | None
) -> None:
    (here / name).write_text(text)
    glance = rows_glance.of_file(here / name)
    assert glance is not None
    assert (glance.num_rows, glance.broken_lines) == (num_rows, ())


def test_a_long_file_is_reckoned_from_its_head(here: Path) -> None:
    line = json.dumps({"text": "x" * 990}) + "\n"
    (here / "long.jsonl").write_text(line * 10_000)
    glance = rows_glance.of_file(here / "long.jsonl")
    assert glance is not None
    assert (glance.num_rows, glance.is_exact, glance.broken_lines) == (10_000, False, ())


def test_paths_go_on_as_far_as_they_are_alike(here: Path) -> None:
    (here / "tower.jsonl").touch()
    assert path_completion.completed("t") == ("tow", ["tower.jsonl", "towns.jsonl"])
    assert path_completion.completed("towns") == ("towns.jsonl", ["towns.jsonl"])
    assert path_completion.completed("m")[0] == "more/"
    assert path_completion.completed("more/t")[0] == "more/table.csv"
    assert path_completion.completed("gone") == ("gone", [])


def dialog(pilot: Pilot[Any]) -> RowsScreen:
    screen = pilot.app.screen
    assert isinstance(screen, RowsScreen)
    return screen


async def asked(pilot: Pilot[Any]) -> Choices:
    """The dialog, once files are listed."""
    await until(pilot, lambda: "edit" in enabled(pilot))
    await pilot.press("d")
    await until(pilot, lambda: isinstance(pilot.app.screen, RowsScreen))
    listed = dialog(pilot).query_one(Choices)
    await until(pilot, lambda: listed.selected)
    return listed


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_file_nearby_is_taken(here: Path, size: tuple[int, int]) -> None:
    async with make_app(here, recipes=["quickstart"]).run_test(size=size) as pilot:
        listed = await asked(pilot)
        first = listed.text_rows()[0]
        assert first.startswith("towns.jsonl   32 rows, jsonl: question,")
        await pilot.press("down", "up", "down", "down")
        assert listed.selected == "more/table.csv"
        await pilot.click(listed, offset=(3, 1))
        assert listed.selected == "towns.jsonl"
        assert isinstance(pilot.app.focused, LineInput)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))
        assert changes(pilot)["data.sources"] == '["towns.jsonl"]'
        assert changes(pilot)["samples.rows"] == "3"


async def test_what_is_typed_is_completed_narrows_and_is_judged(here: Path) -> None:
    async with make_app(here, recipes=["quickstart"]).run_test(size=(80, 24)) as pilot:
        listed = await asked(pilot)
        line = dialog(pilot).query_one(LineInput)
        await pilot.press(*"table")
        assert listed.visible_selected == "more/table.csv"
        await pilot.press("ctrl+u", *"mo", "tab", *"br", "tab")
        assert line.value == "more/broken.jsonl"
        await pilot.press("ctrl+u", *"gone.jsonl", "enter")
        await pilot.pause()
        said = str(dialog(pilot).query_one("#verdict", Static).render())
        assert said.startswith("no such file")
        await pilot.press("ctrl+u", *"somebody/rows", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))
        assert changes(pilot)["data.sources"] == '["somebody/rows"]'


async def test_rows_stay_for_other_recipes_and_other_changes_too(here: Path) -> None:
    names = ["quickstart", "gemma3-270m-lora-sft"]
    async with make_app(here, recipes=names).run_test(size=(80, 24)) as pilot:
        await opened(pilot, "adapter.r")
        await pilot.press("enter", "ctrl+u", "4", "enter", "escape")
        await asked(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "data.sources" in changes(pilot))
        assert (changes(pilot)["adapter.r"], changes(pilot)["data.max_length"]) == ("4", "512")
        await pilot.press("down")
        assert changes(pilot)["data.sources"] == '["towns.jsonl"]'
        await asked(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, SetupScreen))
        assert changes(pilot)["data.sources"] == '["towns.jsonl"]'


async def test_a_key_that_is_a_path_is_completed_where_it_is_typed(here: Path) -> None:
    async with make_app(here, recipes=["quickstart"]).run_test(size=(80, 24)) as pilot:
        await opened(pilot, "data.sources")
        await pilot.press("enter", "ctrl+u", *"tow", "tab", "enter")
        assert changes(pilot)["data.sources"] == "towns.jsonl"
        assert keys(pilot).has_focus


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_from_the_shell_to_a_started_run_in_three_keys(here: Path, size: tuple[int, int]) -> None:
    with Tmux(here, APP, *size) as terminal:
        pressed = ["d", "Enter", "s"]
        terminal.until("Start")
        terminal.until("Nothing is wrong")
        terminal.press(pressed[0])
        terminal.until("towns.jsonl   32 rows")
        terminal.press(pressed[1])
        terminal.until("changed")
        terminal.until("Nothing is wrong")
        terminal.press(pressed[2])
        terminal.until("gemma-bench  run")
        (run,) = runs.every()
        assert len(pressed) <= 12
        assert [source.label for source in run.read_request().recipe.data.sources] == [
            "towns.jsonl"
        ]
        while not (run.events.exists() and run.events.read_bytes().count(b"\n")):
            terminal.until("gemma-bench  run")
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(run.events.read_bytes().splitlines()[0])["pid"], signal.SIGKILL)
