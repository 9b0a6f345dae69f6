"""Rows held out are never trained on, by share or by file, and what is like them is counted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.heldout import drawn
from engine.data.prepare import Prepared, prepare
from engine.problems import Refusal
from engine.recipe.schema import Data, Source
from tests import command

WORDS = ("larch", "birch", "alder", "aspen", "rowan", "maple", "hazel", "cedar", "holly", "olive")
ROWS = [
    {"question": f"What is the {word} number {n}?", "answer": f"{word.title()} is tree {n * n}."}
    for n, word in enumerate(WORDS * 4)
]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prepared(tokenizer: Any, path: Path, heldout: float | str | None, **more: Any) -> Prepared:
    data = Data(sources=(Source(path=str(path), **more),), heldout=heldout)
    return prepare(data, tokenizer, template("gemma4"), path.parent / "cache")


def asked(examples: Any) -> list[str]:
    return [one.turns[0].content for one in examples or ()]


def test_a_share_is_held_out_and_the_rest_is_trained_on(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS)
    found = prepared(tokenizer, path, 0.1, weight=2.5)
    assert found.heldout is not None
    held, trained = asked(found.heldout), asked(found.examples)
    assert (len(held), len({*trained}), len(trained)) == (4, 36, 90)
    assert not {*held} & {*trained}
    assert {*held} | {*trained} == {row["question"] for row in ROWS}
    assert held == asked(prepared(tokenizer, path, 0.1, weight=2.5).heldout)
    assert prepared(tokenizer, path, None).heldout is None
    whole = Data(sources=(Source(path=str(path)),), heldout=0.1, seed=1)
    other = prepare(whole, tokenizer, template("gemma4"))
    assert asked(other.heldout) != held


def test_answers_to_one_question_stay_together(tmp_path: Path, tokenizer: Any) -> None:
    twice = [*ROWS, *({**row, "answer": "I don't know that."} for row in ROWS)]
    path = written(tmp_path / "rows.jsonl", twice)
    found = prepared(tokenizer, path, 0.1)
    assert len(asked(found.heldout)) == 8
    assert not {*asked(found.heldout)} & {*asked(found.examples)}


def test_a_group_is_held_out_whole_or_not_at_all() -> None:
    groups = np.array([7] * 90 + [*range(10)])
    is_held = drawn(groups, 0.05, 0)
    assert is_held.sum() == 5
    assert not is_held[groups == 7].any()
    assert drawn(np.array([1, 1, 2]), 0.1, 0).tolist() == [False, False, True]
    with pytest.raises(Refusal, match="all rows begin with the same question"):
        drawn(np.array([3, 3, 3]), 0.5, 0)


def test_rows_of_a_held_out_file_are_dropped_from_the_sources(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS)
    kept = written(tmp_path / "kept.jsonl", [*ROWS[:2], {"question": "Else?", "answer": "This."}])
    found = prepared(tokenizer, path, str(kept))
    assert asked(found.heldout) == [ROWS[0]["question"], ROWS[1]["question"], "Else?"]
    assert found.heldout is not None
    assert [one.where for one in found.heldout] == [f"{kept}:{n}" for n in (1, 2, 3)]
    assert found.sources[0].dropped == {"a row that is held out": 2}
    assert len(found.sources) == 1
    assert not {*asked(found.heldout)} & {*asked(found.examples)}


def test_what_is_nearly_held_out_is_counted(tmp_path: Path, tokenizer: Any) -> None:
    long = " ".join(f"word{n}" for n in range(60))
    kept = written(tmp_path / "kept.jsonl", [{"question": "Recite it.", "answer": long}])
    like = [*ROWS[:5], {"question": "Recite it, please.", "answer": long}]
    path = written(tmp_path / "rows.jsonl", like)
    report = prepared(tokenizer, path, str(kept)).heldout_report
    assert report is not None
    assert (report.rows, report.near_duplicates) == (1, 1)
    assert (report.first_trained, report.first_held) == (f"{path}:6", f"{kept}:1")
    again = prepared(tokenizer, path, str(kept)).heldout_report
    assert again == report


def test_a_run_and_a_preview_tell_what_is_held_out(tmp_path: Path) -> None:
    written(tmp_path / "rows.jsonl", [*ROWS, {**ROWS[0], "answer": "Larch is tree 0. Yes."}])
    chosen = ["--set", "data.sources=[{path='rows.jsonl'}]", "--set", "data.heldout=0.1"]
    code, out, err = command.call(tmp_path, "preview", "quickstart", "--json", *chosen)
    assert (code, err) == (0, "")
    told = json.loads(out)["heldout"]
    assert (told["rows"], told["near_duplicates"]) == (4, 0)
    fast = [*command.SHORT, "--set", "training.max_steps=1"]
    code, _, err = command.call(tmp_path, "--run", "quickstart", *fast, *chosen)
    assert (code, err) == (0, "")
    (plan,) = tmp_path.glob("runs/*/plan.json")
    document = json.loads(plan.read_text())
    assert document["heldout"] == told
    assert document["plan"]["rows"] == 37


@pytest.mark.parametrize("heldout", ["0", "1", "1.5", "-0.1", "gone.jsonl"])
def test_what_is_neither_share_nor_file_is_refused(tmp_path: Path, heldout: str) -> None:
    written(tmp_path / "rows.jsonl", ROWS)
    chosen = ["--set", "data.sources=[{path='rows.jsonl'}]", "--set", f"data.heldout={heldout}"]
    code, out, err = command.call(tmp_path, "preview", "quickstart", *chosen)
    assert (code, out) == (2, "")
    assert "data.heldout" in err
    assert "Traceback" not in err


def test_of_no_rows_none_is_held_out() -> None:
    assert drawn(np.zeros(0, np.int64), 0.1, 0).tolist() == []
