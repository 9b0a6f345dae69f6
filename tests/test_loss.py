"""The loss is a mean per supervised token, however the rows are split over micro-batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer import utils as trl_utils

from engine.data.batches import apart, pack
from engine.data.encoding.tokens import Tokens
from engine.hardware import kernel_choice
from engine.kernels import head
from engine.model.load import Loaded
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


def weighed(gemma: Loaded, weights: Sequence[float]) -> list[Tokens]:
    """The rows of `tiny`, each with one weight for all of its tokens."""
    pairs = zip(tiny.rows(gemma), weights, strict=True)
    return [replace(row, weights=[weight] * len(row.ids)) for row, weight in pairs]


def weighed_step(gemma: Loaded, weights: Sequence[float], **settings: Any) -> tiny.Gradients:
    kept = tiny.Gradients()
    rows = apart(weighed(gemma, weights), is_weighed=True)
    tiny.trainer(gemma, kept, sequences=rows, **settings).train()
    return kept


WEIGHTS = (0.1, 1.0, 0.5, 0.25, 1.0, 0.75, 0.3, 0.6)


@pytest.mark.parametrize("has_own_head", [True, False])
def test_weighed_answers_have_the_weighted_mean_as_their_loss(
    has_own_head: bool, gemma_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of full logits in transformers; the same packed, in parts, and by either head."""
    monkeypatch.setattr(kernel_choice, "has_own_head", lambda device: has_own_head)
    folder = gemma_folder("embedded")
    gemma = tiny.loaded(folder)
    kept = tiny.Gradients()
    rows = apart(weighed(gemma, WEIGHTS), is_weighed=True)
    trainer = tiny.trainer(gemma, kept, sequences=rows, per_device_train_batch_size=8)
    batch = trainer.batch()
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        logits = trainer.model.get_base_model()(**inputs, use_cache=False).logits[:, :-1]
    targets, weights = batch["labels"][:, 1:], batch["loss_weights"][:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none"
    ).view_as(targets)
    counted = weights * (targets >= 0)
    hits = counted * (logits.argmax(-1) == targets)
    trainer.train()
    assert kept.losses == pytest.approx([float((losses * counted).sum() / counted.sum())], rel=1e-4)
    told = trainer.state.last_metrics
    assert told["token_accuracy"] == pytest.approx(float(hits.sum() / counted.sum()))
    assert trainer.state.progress.supervised_tokens == int((targets >= 0).sum())
    parts = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    assert_same(kept, weighed_step(tiny.loaded(folder), WEIGHTS, **parts))
    packed = pack(weighed(gemma, WEIGHTS), 80, is_weighed=True)
    again = tiny.Gradients()
    size = {"per_device_train_batch_size": len(packed)}
    tiny.trainer(tiny.loaded(folder), again, sequences=packed, **size).train()
    assert_same(kept, again)


@pytest.mark.parametrize("has_own_head", [True, False])
def test_weights_of_one_change_no_bit_and_equal_weights_nothing(
    has_own_head: bool, gemma_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_choice, "has_own_head", lambda device: has_own_head)
    folder = gemma_folder("embedded")
    plain = one_step(folder, folder, per_device_train_batch_size=8)
    ones = weighed_step(tiny.loaded(folder), [1.0] * 8, per_device_train_batch_size=8)
    assert ones.losses == plain.losses
    for name, gradient in plain.gradients.items():
        assert torch.equal(gradient, ones.gradients[name]), name
    halves = weighed_step(tiny.loaded(folder), [0.5] * 8, per_device_train_batch_size=8)
    assert_same(plain, halves)


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
    """The engine's head and LoRA layers against TRL's and PEFT's; and as on Apple's GPUs."""
    folder = gemma_folder(kind)
    ours = one_step(folder, tmp_path, per_device_train_batch_size=8)
    assert (kernel_choice.has_own_head("mps"), kernel_choice.has_own_lora("mps")) == (True, False)
    monkeypatch.setattr(kernel_choice, "has_own_lora", lambda device: False)
    assert_same(ours, one_step(folder, tmp_path, per_device_train_batch_size=8))
    monkeypatch.setattr(kernel_choice, "has_own_head", lambda device: False)
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

    monkeypatch.setattr(kernel_choice, "has_own_head", lambda device: module is head)
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
