"""The trainer gets the very rows that were prepared, alike in length within a step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.data.batches import apart
from engine.data.prepare import Prepared, prepare
from engine.data.template import template
from engine.recipe.schema import Data, Source
from engine.train import sft
from engine.train.token_counts import Tally
from tests import tiny


def prepared(gemma: tiny.Loaded, path: Path) -> Prepared:
    rows = [{"question": f"Question {n}?", "answer": "word " * (n * 7 % 40 + 1)} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return prepare(Data(sources=(Source(path=str(path)),)), gemma.tokenizer, template("gemma4"))


def built(gemma: tiny.Loaded, rows: Prepared, folder: Path, seed: int) -> sft.TokenWeightedTrainer:
    data = Data(sources=(Source(path="rows.jsonl"),), seed=seed)
    training = sft.Training(per_device_train_batch_size=2, gradient_accumulation_steps=2)
    config = sft.arguments(training, data, gemma, folder)
    return sft.trainer(
        gemma.model, gemma, apart(rows.rows), config, tiny.Gradients(), Tally(), lambda *_: None
    )


def order(trainer: sft.TokenWeightedTrainer) -> list[int]:
    return list(trainer._get_train_sampler())


@pytest.fixture
def gemma(gemma_folder: Callable[[str], Path]) -> tiny.Loaded:
    return tiny.loaded(gemma_folder("embedded"))


def test_the_trainer_gets_what_was_prepared(gemma: tiny.Loaded, tmp_path: Path) -> None:
    rows = prepared(gemma, tmp_path / "rows.jsonl")
    trainer = built(gemma, rows, tmp_path, 0)
    given = [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]
    assert given == [(row.ids, row.labels) for row in rows.rows]
    batch = next(iter(trainer.get_train_dataloader()))
    first = order(trainer)[:2]
    for line, number in enumerate(first):
        row = rows.rows[number]
        assert batch["input_ids"][line, : len(row.ids)].tolist() == row.ids
        assert batch["labels"][line, : len(row.ids)].tolist() == row.labels


def test_steps_are_alike_in_length_and_follow_the_seed(gemma: tiny.Loaded, tmp_path: Path) -> None:
    rows = prepared(gemma, tmp_path / "rows.jsonl")
    sizes = rows.rows.sizes()
    drawn = order(built(gemma, rows, tmp_path, 0))
    assert sorted(drawn) == list(range(60))
    assert order(built(gemma, rows, tmp_path, 0)) == drawn
    assert order(built(gemma, rows, tmp_path, 1)) != drawn
    padded = sum(max(sizes[drawn[i : i + 4]]) * 4 for i in range(0, 60, 4))
    unsorted = sum(max(sizes[i : i + 4]) * 4 for i in range(0, 60, 4))
    assert sizes.sum() / padded > 0.85 > sizes.sum() / unsorted
