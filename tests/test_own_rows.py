"""Rows of the user's own, named on the command line: trained on, previewed, asked, told of."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_app import MACHINE, PROFILES, until
from staged_preview import Staged, warm
from terminal import APP, Tmux
from test_editing import changes
from test_preview_screen import enabled

from engine.data.conversation import Turn
from engine.data.prepare import Example
from engine.run.rundir import RunDir
from engine.train.answers import questions
from tests import command
from tests.test_command_line import refused
from workbench.app import BenchApp
from workbench.recipe_editor import own_rows
from workbench.screens.setup import SetupScreen
from workbench.widgets.recipepane import RecipePane

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with rows to train on and others to judge by."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    for name, count in (("towns.jsonl", 12), ("held.jsonl", 5), ("more/a.jsonl", 2)):
        stem = Path(name).stem
        rows = [{"question": f"What of {stem} {n}?", "answer": f"{n}!"} for n in range(count)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows * 2))
    return tmp_path


def test_a_file_is_trained_on_by_its_name(here: Path) -> None:
    code, out, err = command.call(
        here, "--run", "towns.jsonl", "--data", "more", "--out", "run", "--json",
        "--set", "training.max_steps=3", "--set", "samples.max_new_tokens=8",
        "--set", "data.heldout=held.jsonl",
    )  # fmt: skip
    assert code == 0, err
    assert "towns.jsonl holds rows: quickstart trains" in err
    assert "gemma-bench run RECIPE --data towns.jsonl" in err
    recipe = RunDir(here / "run").read_request().recipe
    assert [source.path for source in recipe.data.sources] == [
        str(here / "towns.jsonl"), str(here / "more"),
    ]  # fmt: skip
    assert (recipe.score, recipe.data.max_length) == (None, 512)
    training = recipe.training
    assert (recipe.data.packing, recipe.adapter.r, recipe.adapter.lora_alpha) == (False, 32, 64)
    assert (training.learning_rate, training.num_train_epochs) == (1e-2, 8.0)
    assert training.per_device_train_batch_size == 8
    told = [json.loads(line) for line in out.splitlines()]
    asked = [event["prompt"] for event in told if event["kind"] == "sample" and event["step"] == 3]
    assert asked == [f"What of held {n}?" for n in range(3)]
    assert not [event for event in told if event.get("code") == "not_scored"]


def turns(question: str, *images: str) -> tuple[Turn, ...]:
    return Turn("user", question, images=images), Turn("assistant", "Yes.")


def test_questions_are_of_rows_in_words_and_come_once() -> None:
    rows = [
        (Turn("text", "Once."),), turns("Seen?", "a.png"), turns("One?"), turns("One?"),
        (Turn("system", "Short."), *turns("Two?")), turns("Three?"),
    ]  # fmt: skip
    prepared: Any = SimpleNamespace(heldout=None, examples=[Example("", row, None) for row in rows])
    said = [[turn.content for turn in asked] for asked in questions(prepared, 2)]
    assert said == [["One?"], ["Short.", "Two?"]]
    assert len(questions(prepared, 9)) == 3
    assert questions(prepared, 0) == ()


def test_rows_are_previewed_by_their_name(here: Path) -> None:
    code, out, err = command.call(here, "preview", "towns.jsonl", "--json")
    assert (code, err) == (0, "")
    assert [source["name"] for source in json.loads(out)["sources"]] == ["towns.jsonl"]
    code, out, err = command.call(
        here, "budget", "quickstart", "--data", "towns.jsonl", "--hardware", "cpu", "--json"
    )
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "gone.jsonl"], ["data.sources.0.path", "gone.jsonl", "no such file"]),
        (["run", "twons.json"], ["no such file", "Did you mean towns.jsonl? Put it there"]),
        (["run", "quickstart", "--data", "gone.csv"], ["gone.csv", "no such file"]),
        (["preview", "quickstart", "--data", "towns.jsonl", "--data", "gone"],
         ["data.sources.1.path", "no such file"]),
        (["run", "empty"], ["no file with rows is there"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_rows_that_are_not_there_are_refused(
    here: Path, arguments: list[str], said: list[str]
) -> None:
    (here / "empty").mkdir()
    code, message = refused(here, *arguments)
    assert code == 2
    for words in said:
        assert words in message


def test_a_recipe_of_that_name_goes_before_a_folder(here: Path) -> None:
    (here / "quickstart").mkdir()
    assert not own_rows.is_rows("quickstart")
    assert not own_rows.is_rows("gone")
    assert not own_rows.is_rows("")
    assert own_rows.is_rows("more")


async def test_the_app_begins_with_rows_that_were_named(here: Path) -> None:
    def setup(preview: Any) -> SetupScreen:
        names = ("quickstart", "gemma3-270m-lora-sft")
        return SetupScreen(preview, lambda: MACHINE, PROFILES, names, ["towns.jsonl"])

    async with BenchApp(None, setup, warm(Staged())).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "edit" in enabled(pilot))
        assert changes(pilot) == own_rows.changes(["towns.jsonl"], "quickstart")
        pane = pilot.app.screen.query_one(RecipePane)
        pane.change("quickstart", {})
        assert changes(pilot) == {}
        await pilot.press("down")
        assert changes(pilot) == own_rows.changes(["towns.jsonl"])


def test_the_app_takes_them_from_the_command_line(here: Path) -> None:
    with Tmux(here, [*APP, "--data", "towns.jsonl"], 120, 40) as terminal:
        screen = terminal.until("starts the run")
        assert "towns.jsonl" in screen
        assert "samples.rows = 3" in screen
        terminal.press("q")
        terminal.until("left with 0")


def test_rows_that_are_lost_stand_on_setup_and_on_the_run_s_screen(here: Path) -> None:
    rows = [{"question": f"What of {n}?", "answer": f"{n}!" * (n < 3)} for n in range(8)]
    (here / "lost.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Tmux(here, [*APP, "--data", "lost.jsonl"], 120, 40) as terminal:
        told = " ".join(terminal.until("5 of 8 rows of lost.jsonl").split())
        assert "Nothing is wrong" in told
        terminal.press("s")
        told = terminal.until("warning  5 of 8 rows of lost.jsonl", 120)
        assert "an empty answer" in told
        (run,) = [RunDir(path) for path in here.glob("runs/*")]
        command.wait(lambda: not run.is_alive())


def test_rows_that_no_format_reads_stand_on_setup(here: Path) -> None:
    (here / "odd.jsonl").write_text('{"number": 7}\n')
    with Tmux(here, [*APP, "--data", "odd.jsonl"], 120, 40) as terminal:
        terminal.until("no known format has the columns number")
