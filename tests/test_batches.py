"""The trainer gets the very rows that were prepared, alike in length within a step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.data.batches import apart
from engine.data.encoding.template import template
from engine.data.prepare import Prepared, prepare
from engine.recipe.schema import Data, Source
from tests import tiny


def prepared(gemma: tiny.Loaded, path: Path) -> Prepared:
    rows = [{"question": f"Question {n}?", "answer": "word " * (n * 7 % 40 + 1)} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return prepare(Data(sources=(Source(path=str(path)),)), gemma.tokenizer, template("gemma4"))


def built(gemma: tiny.Loaded, rows: Prepared, seed: int) -> tiny.Trial:
    return tiny.trainer(
        gemma, sequences=apart(rows.rows), data_seed=seed,
        per_device_train_batch_size=2, gradient_accumulation_steps=2,
    )  # fmt: skip


def order(trial: tiny.Trial) -> list[int]:
    loader: Any = trial.state.loader
    return list(loader.batch_sampler.sampler)


@pytest.fixture
def gemma(gemma_folder: Callable[[str], Path]) -> tiny.Loaded:
    return tiny.loaded(gemma_folder("embedded"))


def test_the_trainer_gets_what_was_prepared(gemma: tiny.Loaded, tmp_path: Path) -> None:
    rows = prepared(gemma, tmp_path / "rows.jsonl")
    trainer = built(gemma, rows, 0)
    given = [(row["input_ids"], row["labels"]) for row in trainer.state.loader.dataset]
    assert given == [(row.ids, row.labels) for row in rows.rows]
    batch = next(iter(trainer.state.loader))
    first = order(trainer)[:2]
    for line, number in enumerate(first):
        row = rows.rows[number]
        assert batch["input_ids"][line, : len(row.ids)].tolist() == row.ids
        assert batch["labels"][line, : len(row.ids)].tolist() == row.labels


def test_steps_are_alike_in_length_and_follow_the_seed(gemma: tiny.Loaded, tmp_path: Path) -> None:
    rows = prepared(gemma, tmp_path / "rows.jsonl")
    sizes = rows.rows.sizes()
    drawn = order(built(gemma, rows, 0))
    assert sorted(drawn) == list(range(60))
    assert order(built(gemma, rows, 0)) == drawn
    assert order(built(gemma, rows, 1)) != drawn
    padded = sum(max(sizes[drawn[i : i + 4]]) * 4 for i in range(0, 60, 4))
    unsorted = sum(max(sizes[i : i + 4]) * 4 for i in range(0, 60, 4))
    assert sizes.sum() / padded > 0.85 > sizes.sum() / unsorted
