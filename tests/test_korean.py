"""The Korean recipe asks for what its card says, and its nine formats run through the pipeline."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from engine.data.batches import efficiency, pack
from engine.data.encoding.template import template
from engine.data.encoding.tokens import IGNORED
from engine.data.prepare import prepare
from engine.recipe.schema import Data, Recipe, Source
from tests import tiny
from tests.nine_formats import FORMAT, NINE

RECIPE = Path(__file__).parents[1] / "recipes" / "gemma4-e2b-lora-sft-korean.toml"
COUNTS = [2500, 1491, 1500, 1500, 1000, 1030, 1000, 500, 3000]


def test_the_recipe_asks_for_what_the_card_says() -> None:
    recipe = Recipe.model_validate(tomllib.loads(RECIPE.read_text()))
    assert [source.rows for source in recipe.data.sources] == COUNTS
    assert sum(COUNTS) == 13_521
    formats = [FORMAT.get(name, name) for name in NINE]
    assert [source.format for source in recipe.data.sources] == formats
    training = recipe.training
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == 8
    # 13,521 rows in steps of eight are the 1,691 steps of the card.
    assert -(-sum(COUNTS) // 8) == 1691


def test_nine_formats_are_detected_and_prepared(
    tmp_path: Path, gemma_folder: Callable[[str], Path]
) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"))
    for name, rows in NINE.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    sources = tuple(Source(path=str(tmp_path / f"{name}.jsonl"), rows=5) for name in NINE)
    data = Data(sources=sources, max_length=256, packing=True)
    prepared = prepare(data, gemma.tokenizer, template("gemma4"))
    assert [one.format for one in prepared.sources] == [FORMAT.get(name, name) for name in NINE]
    assert [(one.quota, one.num_taken) for one in prepared.sources] == [(5, 5)] * 9
    assert not prepared.dropped
    assert all(0 < one.supervised_share < 1 for one in prepared.sources)
    last = prepared.rows[len(prepared.rows) - 1]
    spoken = gemma.tokenizer.decode([label for label in last.labels if label != IGNORED])
    persona = {value for row in NINE["nemotron_persona"] for value in row.values()}
    assert [said for said in spoken.split("<turn|>\n") if said and said not in persona] == []
    packed = pack(prepared.rows, 256)
    assert efficiency(prepared.tokens, len(packed), 256) > 0.9
    trained = tiny.Gradients()
    tiny.trainer(gemma, trained, sequences=packed, max_steps=2).train()
    assert len(trained.losses) == 2
