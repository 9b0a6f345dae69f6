"""Tables in host memory: the same numbers to the bit, and only the rows of a batch beside them."""

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.batches import Collator, TokenSequence, alone, pack
from engine.data.conversation import Turn
from engine.data.encoding.template import template
from engine.gemma.config import dialect_of
from engine.model import host_embeddings, lora
from engine.model.answers.generate import answer
from engine.model.host_embeddings import FETCHED, TablePrefetcher
from engine.model.load import Loaded
from engine.recipe.schema import Adapter
from tests import tiny
from tests.measured_step import held_bytes

KINDS = ("embedded", "gemma4_multimodal")
"""Those with per-layer embeddings."""
Folder = Callable[[str], Path]


def table_of(gemma: Loaded) -> host_embeddings.HostTable:
    found = host_embeddings.table_of(gemma.model)
    assert found is not None
    return found


def trained(
    folder: Path, staging: Path, *, on_host: bool, packs: bool, dtype: str, **settings: Any
) -> tuple[tiny.Gradients, dict[str, torch.Tensor]]:
    """Losses and gradients of two steps, and the adapter after them."""
    gemma = tiny.loaded(folder, dtype=dtype, host_tables=on_host)
    assert (host_embeddings.table_of(gemma.model) is not None) is on_host
    kept = tiny.Gradients()
    sequences = [*pack(tiny.rows(gemma), 80)] if packs else None
    trainer = tiny.trainer(gemma, kept, sequences=sequences, max_steps=2, **settings)
    trainer.train()
    adapter = {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}
    return kept, adapter


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("packs", "settings"),
    [
        (False, {"per_device_train_batch_size": 4}),
        (False, {"per_device_train_batch_size": 2, "gradient_checkpointing": True}),
        (True, {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 3}),
    ],
    ids=["padded", "checkpointed", "packed"],
)
def test_loss_gradients_and_adapter_are_the_same_to_the_bit(
    kind: str,
    dtype: str,
    packs: bool,
    settings: dict[str, Any],
    gemma_folder: Folder,
    tmp_path: Path,
) -> None:
    here, there = (
        trained(gemma_folder(kind), tmp_path, on_host=on_host, packs=packs, dtype=dtype, **settings)
        for on_host in (False, True)
    )
    assert here[0].losses == there[0].losses
    assert len(here[0].losses) == 2
    for one, other in ((here[0].gradients, there[0].gradients), (here[1], there[1])):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(gradient.any() for gradient in here[0].gradients.values())


def test_four_bit_weights_train_beside_a_table_on_the_host(
    gemma_folder: Folder, tmp_path: Path
) -> None:
    chosen = {"dtype": "bfloat16", "quantization": "nf4"}
    losses = []
    for on_host in (False, True):
        gemma = tiny.loaded(gemma_folder("embedded"), host_tables=on_host, **chosen)
        kept = tiny.Gradients()
        tiny.trainer(gemma, kept, max_steps=2).train()
        losses.append(kept.losses)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same(kind: str, gemma_folder: Folder) -> None:
    said = []
    for on_host in (False, True):
        gemma = tiny.loaded(gemma_folder(kind), dtype="bfloat16", host_tables=on_host)
        model = lora.attach(gemma.model, Adapter(r=2, lora_alpha=4), 0)
        chosen = template(dialect_of(model.config.to_dict()))
        asked = [(Turn("user", question),) for question, _ in tiny.QUESTIONS[:3]]
        said.append(answer(model, gemma.tokenizer, chosen, asked, 12))
    assert said[0] == said[1]
    assert any(said[0])


def test_placeholders_of_images_are_looked_up_as_padding(gemma_folder: Folder) -> None:
    gemma = tiny.loaded(gemma_folder("gemma4_multimodal"), host_tables=True)
    table, config = table_of(gemma), gemma.model.config
    ids = torch.tensor([[5, config.image_token_id, config.audio_token_id, 7]])
    padding = config.get_text_config().pad_token_id
    assert torch.equal(table.rows(ids), table.rows(torch.tensor([[5, padding, padding, 7]])))
    assert not torch.equal(table.rows(ids)[0, 1], table.table[config.image_token_id])


def test_rows_told_for_other_tokens_are_not_taken(gemma_folder: Folder) -> None:
    table = table_of(tiny.loaded(gemma_folder("embedded"), host_tables=True))
    asked, other = torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9, 10]])
    right = table(asked)
    table.expect(other, lambda: table.rows(other))
    assert torch.equal(table(asked), right)
    table.expect(asked, lambda: table.rows(other))
    assert not torch.equal(table(asked), right)
    assert torch.equal(table(asked), right)


def test_every_batch_of_a_run_was_fetched_ahead(gemma_folder: Folder, tmp_path: Path) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"), host_tables=True)
    table, looked_up = table_of(gemma), list[str]()
    look = table.rows

    def seen(ids: torch.Tensor) -> torch.Tensor:
        looked_up.append(threading.current_thread().name)
        return look(ids)

    table.rows = seen  # type: ignore[method-assign]
    batches = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    tiny.trainer(gemma, tiny.Gradients(), max_steps=2, **batches).train()
    assert len(looked_up) >= 4
    assert all(name.startswith("rows") for name in looked_up)


def test_few_batches_are_held_however_many_are_made(gemma_folder: Folder) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"), host_tables=True)
    table = table_of(gemma)
    fetcher = TablePrefetcher(Collator(0), table)
    rows = [alone(row) for row in tiny.rows(gemma)[:6]]
    batches = [fetcher([as_dict(row)]) for row in rows]
    fetched = [batch.pop(FETCHED) for batch in batches]
    assert [one.is_waiting for one in fetched] == [False, False, True, True, True, True]
    for place, (one, batch) in enumerate(zip(fetched[:3], batches, strict=False)):
        one.announce()
        expected = table.table[batch["input_ids"]] * table.embed_scale
        assert torch.equal(table(batch["input_ids"]), expected.float())
        assert [other.is_waiting for other in fetched[place + 1 :]].count(False) == 2


def test_a_batch_that_is_let_go_makes_room(gemma_folder: Folder) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"), host_tables=True)
    fetcher = TablePrefetcher(Collator(0), table_of(gemma))
    rows = [as_dict(alone(row)) for row in tiny.rows(gemma)]
    for row in rows[:4]:
        fetcher([row])
    gc.collect()
    assert not fetcher([rows[4]])[FETCHED].is_waiting


def as_dict(sequence: TokenSequence) -> dict[str, list[int]]:
    return {
        "input_ids": sequence.input_ids,
        "labels": sequence.labels,
        "position_ids": sequence.position_ids,
    }


def test_the_table_is_in_no_storage_that_a_step_holds(gemma_folder: Folder, tmp_path: Path) -> None:
    held, numbers = [], []
    for on_host in (False, True):
        gemma = tiny.loaded(gemma_folder("embedded"), host_tables=on_host)
        trainer = tiny.trainer(gemma, tiny.Gradients(), max_steps=1)
        trainer.train()
        held.append(held_bytes(trainer))
        numbers.append(
            trainer.model.num_parameters() + host_embeddings.table_parameters(trainer.model)
        )
    table = table_of(gemma).table
    assert held[0] - held[1] == table.numel() * 4
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("kind", ["gemma3", "gemma4_moe"])
def test_a_model_without_tables_is_refused(kind: str, gemma_folder: Folder) -> None:
    with pytest.raises(ValueError, match="no per-layer embeddings"):
        tiny.loaded(gemma_folder(kind), host_tables=True)


def test_a_class_is_as_it_was_after_loading(gemma_folder: Folder) -> None:
    tiny.loaded(gemma_folder("embedded"), host_tables=True)
    assert host_embeddings.table_of(tiny.loaded(gemma_folder("embedded")).model) is None
