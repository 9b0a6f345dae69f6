"""Packed rows never see each other, nor do padded ones see their padding."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.budget import micro_batch
from engine.data.batches import Collator, TokenSequence, alone, bins, efficiency, pack
from engine.data.encoding.tokens import IGNORED, Tokens
from engine.objectives import objective
from engine.recipe.schema import Data, Recipe, Source, Training
from tests import tiny
from tests.conftest import KINDS


def as_dict(sequence: TokenSequence) -> dict[str, list[int]]:
    return {
        "input_ids": sequence.input_ids,
        "labels": sequence.labels,
        "position_ids": sequence.position_ids,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_row_gets_the_logits_it_gets_alone(
    kind: str, gemma_folder: Callable[[str], Path]
) -> None:
    gemma = tiny.loaded(gemma_folder(kind))
    rows = tiny.rows(gemma)
    packed = pack(rows, 100)
    assert 1 < len(packed) < len(rows)
    batch = Collator(0)([as_dict(sequence) for sequence in packed])
    assert "attention_mask" not in batch
    with torch.no_grad():
        logits = gemma.model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits
        for row in rows:
            single = gemma.model(input_ids=torch.tensor([row.ids])).logits[0]
            line, start = place(packed, row)
            together = logits[line, start : start + len(row.ids)]
            torch.testing.assert_close(together, single, rtol=1e-3, atol=2e-4)


def place(packed: list[TokenSequence], row: Tokens) -> tuple[int, int]:
    """Which sequence a row went to, and where in it."""
    for line, sequence in enumerate(packed):
        for start in range(len(sequence.input_ids) - len(row.ids) + 1):
            if (
                sequence.position_ids[start] == 0
                and sequence.input_ids[start : start + len(row.ids)] == row.ids
            ):
                return line, start
    raise AssertionError("the row was lost in packing")


def test_a_mask_of_ones_and_a_cache_would_leak(gemma_folder: Callable[[str], Path]) -> None:
    """Shows that the test above can fail: this is what must never reach the model."""
    gemma = tiny.loaded(gemma_folder("embedded"))
    rows = tiny.rows(gemma)
    packed = pack(rows, 100)
    batch = Collator(0)([as_dict(sequence) for sequence in packed])
    ids, positions = batch["input_ids"], batch["position_ids"]
    with torch.no_grad():
        apart = gemma.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        masked = gemma.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
        ).logits
        cached = gemma.model(input_ids=ids, position_ids=positions, use_cache=True).logits
    assert (apart - masked).abs().max() > 0.1
    assert (apart - cached).abs().max() > 0.1


def test_nothing_is_lost_and_no_row_is_split() -> None:
    rows = [Tokens([2] + [n] * n, [IGNORED] + [n] * n, False) for n in range(1, 20)]
    packed = pack(rows, 24)
    assert sum(len(sequence.input_ids) for sequence in packed) == sum(len(r.ids) for r in rows)
    assert all(len(sequence.input_ids) <= 24 for sequence in packed)
    assert sum(sequence.position_ids.count(0) for sequence in packed) == len(rows)


@pytest.mark.parametrize(("counts_on", "last"), [(True, 2), (False, 0)])
def test_padding_counts_on_or_is_a_row_of_its_own(counts_on: bool, last: int) -> None:
    rows = [Tokens([2, 5, 6], [IGNORED, 5, 6], False), Tokens([2, 7], [IGNORED, 7], False)]
    batch = Collator(0, counts_on)([as_dict(alone(row)) for row in rows])
    assert batch["input_ids"].tolist() == [[2, 5, 6], [2, 7, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 5, 6], [IGNORED, 7, IGNORED]]
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 1, last]]


def test_each_row_goes_where_it_fits_best() -> None:
    # First fit would put the 2 beside the 14; best fit fills the other bin with it.
    assert bins([14, 11, 7, 2], 20) == [[0], [1, 2, 3]]
    assert bins([7, 6, 3, 4], 10) == [[0, 2], [1, 3]]
    assert efficiency(20, 2, 10) == 1.0


def objectives() -> list[Any]:
    """Of every module beside the protocol's."""
    names = {path.stem for path in Path(objective.__file__).parent.glob("*.py")} - {"objective"}
    modules = [import_module(f"engine.objectives.{name}") for name in sorted(names)]
    classes = [cls for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    return [cls() for cls in dict.fromkeys(classes) if hasattr(cls, "collator")]


@pytest.mark.parametrize("batch", [1, 3])
def test_the_ledger_knows_the_micro_batch_that_an_objective_makes(batch: int) -> None:
    assert {each.name for each in objectives()} == micro_batch.LONGEST.keys()
    longest = Tokens([2, *range(10, 17)], [IGNORED, *range(10, 17)], False)
    recipe = Recipe(
        data=Data(sources=(Source(path="rows.jsonl"),), max_length=len(longest.ids)),
        training=Training(per_device_train_batch_size=batch),
    )
    for each in objectives():
        declared = micro_batch.LONGEST[each.name](recipe)
        made = each.collator(0, counts_on=True)([as_dict(alone(longest))] * batch)
        assert made["input_ids"].shape == (declared.sequences, declared.length)
        most = declared.supervised_tokens or declared.sequences * (declared.length - 1)
        assert int(each.weight(made)) == most
