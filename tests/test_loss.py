"""The loss is a mean per supervised token, however the rows are split over micro-batches."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer import utils as trl_utils

from engine.data.batches import pack
from engine.hardware import kernel_choice
from engine.kernels import head
from tests import tiny
from tests.conftest import KINDS


def one_step(folder: Path, staging: Path, **settings: object) -> tiny.Gradients:
    kept = tiny.Gradients()
    tiny.trainer(tiny.loaded(folder), kept, **settings).train()
    return kept


def assert_same(left: tiny.Gradients, right: tiny.Gradients) -> None:
    assert left.gradients.keys() == right.gradients.keys()
    assert left.losses == pytest.approx(right.losses, rel=1e-5)
    for name, gradient in left.gradients.items():
        torch.testing.assert_close(gradient, right.gradients[name], rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_accumulation_changes_neither_loss_nor_gradient(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = gemma_folder(kind)
    whole = one_step(folder, tmp_path, per_device_train_batch_size=8)
    parts = one_step(folder, tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=8)
    assert any(gradient.abs().max() > 1e-4 for gradient in whole.gradients.values())
    assert_same(whole, parts)


@pytest.mark.parametrize("kind", KINDS)
def test_packing_changes_neither_loss_nor_gradient(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = gemma_folder(kind)
    gemma = tiny.loaded(folder)
    packed, kept = pack(tiny.rows(gemma), 80), tiny.Gradients()
    assert len(packed) < len(tiny.QUESTIONS)
    tiny.trainer(gemma, kept, sequences=packed, per_device_train_batch_size=len(packed)).train()
    assert_same(kept, one_step(folder, tmp_path, per_device_train_batch_size=8))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_transformers_own_over_full_logits(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder(kind))
    kept = tiny.Gradients()
    trainer = tiny.trainer(gemma, kept, per_device_train_batch_size=8)
    batch = trainer.batch()
    with torch.no_grad():
        logits = trainer.model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        ).logits
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten()
    )
    trainer.train()
    assert kept.losses[0] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("kind", ["embedded", "gemma4_multimodal"])
def test_checkpointing_changes_no_gradient_where_layers_share_keys_and_values(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = gemma_folder(kind)
    assert tiny.loaded(folder).model.config.get_text_config().num_kv_shared_layers > 0
    kept = one_step(folder, tmp_path, gradient_checkpointing=False)
    again = one_step(folder, tmp_path, gradient_checkpointing=True)
    assert_same(kept, again)


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_change_neither_loss_nor_gradient(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's head and LoRA layers against TRL's and PEFT's."""
    folder = gemma_folder(kind)
    ours = one_step(folder, tmp_path, per_device_train_batch_size=8)
    monkeypatch.setattr(kernel_choice, "are_used", lambda device: False)
    assert_same(ours, one_step(folder, tmp_path, per_device_train_batch_size=8))


@pytest.mark.parametrize(
    ("module", "name"), [(head, "_CrossEntropy"), (trl_utils, "_ChunkedLogProbFunction")]
)
def test_only_tokens_with_loss_are_scored(
    module: Any,
    name: str,
    gemma_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And logits are made in tiles: each kernel gets hidden states of the supervised tokens."""
    kernel, scored = getattr(module, name), []

    class Recording:
        @staticmethod
        def apply(hidden: torch.Tensor, *rest: object) -> object:
            scored.append(hidden.shape[0])
            return kernel.apply(hidden, *rest)

    monkeypatch.setattr(kernel_choice, "are_used", lambda device: module is head)
    gemma = tiny.loaded(gemma_folder("embedded"))
    monkeypatch.setattr(module, name, Recording)
    tiny.trainer(gemma, tiny.Gradients(), per_device_train_batch_size=8).train()
    assert scored == [sum(row.supervised for row in tiny.rows(gemma))]


def test_checkpointing_is_never_reentrant(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"))
    trainer = tiny.trainer(gemma, tiny.Gradients(), gradient_checkpointing=True)
    trainer.train()
    used = [
        module._gradient_checkpointing_func.keywords["use_reentrant"]
        for module in trainer.model.modules()
        if getattr(module, "gradient_checkpointing", False)
    ]
    assert used
    assert not any(used)


def test_the_loss_of_a_random_model_is_near_that_of_a_uniform_guess(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder("gemma3"))
    kept = tiny.Gradients()
    tiny.trainer(gemma, kept, per_device_train_batch_size=1, gradient_accumulation_steps=8).train()
    assert kept.losses[0] == pytest.approx(math.log(gemma.vocab_size), rel=0.1)
