"""What setup says beside "Nothing is wrong": steps and time, other rows, broken lines, the hub."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_app import MACHINE, make_app, until
from staged_preview import ANSWER, Staged
from test_preview_screen import enabled, told

from engine.problems import Problem
from engine.sessions.preview import Broken, Refused, Reply
from workbench.recipe_editor import foresight, own_rows, recipe_assessment
from workbench.recipe_editor.draft import Changes
from workbench.recipe_editor.recipe_assessment import RecipeAssessment
from workbench.text import format

SLOW = replace(MACHINE, tflops=0.0005, bandwidth_gb_s=10.0)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    for name in ("HF_TOKEN", "HF_HUB_CACHE", "HF_TOKEN_PATH", "NO_COLOR", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    rows = [{"question": f"Where is {n}?", "answer": f"In {n}."} for n in range(128)]
    (tmp_path / "towns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def assessed(changes: Changes, machine: object = MACHINE) -> RecipeAssessment:
    assert isinstance(machine, type(MACHINE))
    return recipe_assessment.of_choice("auto", "quickstart", machine, changes)


def reasons(changes: Changes) -> list[str]:
    outcome = assessed(changes)
    assert not outcome.problems
    return [note.reason for note in outcome.notes]


def followed(note: Problem, changes: Changes) -> Changes:
    """The changes after what a note says first."""
    key, _, value = note.fix.split(" ")[0].partition("=")
    return {**changes, key: value}


def test_a_recipe_as_it_comes_has_nothing_to_note() -> None:
    assert reasons({}) == []


def test_eight_steps_are_few_and_the_advice_makes_them_enough() -> None:
    few = {**own_rows.changes(["towns.jsonl"], "quickstart"), "training.num_train_epochs": "0.5"}
    (note,) = assessed(few).notes
    assert note.reason == "8 steps in all, which teaches little"
    assert reasons(followed(note, few)) == []
    short = {"training.max_steps": "5"}
    assert reasons(followed(assessed(short).notes[0], short)) == []


def test_the_time_is_of_all_steps_of_the_rows_that_are_there() -> None:
    slow = assessed(own_rows.changes(["towns.jsonl"], "quickstart"), replace(SLOW, tflops=1e-7))
    told_facts = {name: value for name, value, _ in slow.facts if name}
    assert told_facts["time"].startswith("128 steps, about ")
    assert "e+" not in told_facts["time"]
    assert [note.reason for note in slow.notes if "on this hardware" in note.reason]


def test_rows_alone_leave_prompts_and_score_about_others() -> None:
    changes = {"data.sources": "towns.jsonl"}
    prompts, score = assessed(changes).notes
    assert "prompts of samples" in prompts.reason
    assert "score is of questions" in score.reason
    mended = followed(score, {**changes, "samples.rows": "3", "samples.prompts": "[]"})
    assert reasons(mended) == []


def test_broken_lines_are_named(here: Path) -> None:
    with (here / "towns.jsonl").open("a") as rows:
        rows.write('{"question": \n')
    (reason,) = reasons(own_rows.changes(["towns.jsonl"], "quickstart"))
    assert reason == "towns.jsonl: 1 line can't be read (line 129)"


def test_a_model_of_the_hub_that_is_not_in_its_cache_is_told(here: Path) -> None:
    changes = {"model.path": "google/gemma-3-270m-it"}
    (note,) = assessed(changes).notes
    assert (note.reason, note.fix) == (
        "google/gemma-3-270m-it is not in the hub's cache: it is fetched first",
        "Where its page asks for terms: hf auth login",
    )
    (here / "hub").mkdir()
    (here / "hub/token").write_text("hf_x")
    assert assessed(changes).notes[0].fix == "Be online"
    (here / "hub/hub/models--google--gemma-3-270m-it/snapshots").mkdir(parents=True)
    assert reasons(changes) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.312, "0.31 s"), (42, "42 s"), (59.7, "60 s"), (245, "4 min 5 s"), (3600, "1 h"),
     (15840, "4 h 24 min"), (2 * 86400 + 3600, "2 d 1 h"), (91 * 86400, "3 months"),
     (3 * 365 * 86400, "3 years")],
)  # fmt: skip
def test_spans_are_in_two_units(seconds: float, words: str) -> None:
    assert format.span(seconds) == words


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 40)], ids=str)
async def test_setup_shows_them_below_the_verdict(here: Path, size: tuple[int, int]) -> None:
    app = make_app(here, recipes=["quickstart"])
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "edit" in enabled(pilot))
        pilot.app.screen.query_one("RecipePane").change(  # type: ignore[attr-defined]
            "quickstart", {"data.sources": "towns.jsonl"}
        )
        pilot.app.screen._check()  # type: ignore[attr-defined]
        await until(pilot, lambda: "prompts of samples" in told(pilot, "#problems"))
        await until(pilot, lambda: told(pilot, "#problems").startswith("Nothing is wrong."))
        assert "start" in enabled(pilot)


@pytest.mark.parametrize(
    ("reply", "first", "then"),
    [
        (ANSWER, "Nothing is wrong. s starts", ""),
        (Refused(1, "x", (Problem("data.sources", "", "no known format", "Name one"),)),
         "The run would end at its rows", "no known format"),
        (Broken(1, "gone", ""), "Nothing is wrong. s starts", ""),
    ],
    ids=["read", "refused", "broken"],
)  # fmt: skip
async def test_nothing_is_wrong_waits_for_rows_of_ones_own(
    here: Path, reply: Reply, first: str, then: str
) -> None:
    staged = Staged(reply=lambda *_: reply, is_held=True)
    app = make_app(here, staged=staged, recipes=["quickstart"])
    async with app.run_test(size=(80, 24)) as pilot:
        await until(
            pilot, lambda: told(pilot, "#problems").startswith("Nothing is wrong. s starts")
        )
        app.screen._train_on("towns.jsonl")  # type: ignore[attr-defined]
        await until(pilot, lambda: staged.asked)
        assert told(pilot, "#problems").startswith("Nothing is wrong so far; rows are being read.")
        assert "start" in enabled(pilot)
        staged.is_held = False
        await until(pilot, lambda: told(pilot, "#problems").startswith(first))
        assert then in told(pilot, "#problems")
        assert "start" in enabled(pilot)


def test_steps_of_packed_rows_are_reckoned_from_their_lengths() -> None:
    """120 rows of some 25 tokens and 130 of 64, twice: 354 sequences of 64, 23 steps of 16."""
    packed = {"data.packing": "true", "training.per_device_train_batch_size": "16"}
    outcome = assessed({**own_rows.changes(["towns.jsonl"], "quickstart"), **packed,
                        "training.num_train_epochs": "1.0"})  # fmt: skip
    assert isinstance(outcome, recipe_assessment.Assessed)
    (note,) = foresight.of_reply(outcome.recipe, ANSWER)
    assert note.reason == "about 23 steps in all, which teaches little"
    assert note.fix == "training.num_train_epochs=5 makes it about 100"
    longer = outcome.recipe.model_copy(
        update={"training": outcome.recipe.training.model_copy(update={"num_train_epochs": 5.0})}
    )
    assert foresight.of_reply(longer, ANSWER) == []
