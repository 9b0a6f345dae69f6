"""Asking a model while it trains leaves the training as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.conversation import Turn
from engine.data.encoding.template import template
from engine.gemma.config import dialect_of
from engine.model.answers.generate import Cut, answer
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from tests import tiny

ASKED = [(Turn("user", "What is the capital of Japan?"),), (Turn("user", "Spell cat."),)]


class Asking(tiny.Gradients):
    """Asks base and adapter after every step."""

    tokenizer: Any = None
    model: Any = None

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Ask."""
        chosen = template(dialect_of(self.model.config.to_dict()))
        for as_base in (True, False):
            answer(self.model, self.tokenizer, chosen, ASKED, 8, as_base=as_base)


def trained(folder: Path, staging: Path, kept: tiny.Gradients) -> dict[str, torch.Tensor]:
    gemma = tiny.loaded(folder)
    trainer = tiny.trainer(
        gemma, kept, max_steps=4, per_device_train_batch_size=2, learning_rate=1e-2
    )
    if isinstance(kept, Asking):
        kept.tokenizer, kept.model = gemma.tokenizer, trainer.model
    trainer.train()
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


def test_a_run_that_was_sampled_ends_with_the_same_weights(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = gemma_folder("embedded")
    undisturbed = trained(folder, tmp_path, tiny.Gradients())
    sampled = trained(folder, tmp_path, Asking())
    assert all(torch.equal(weight, sampled[name]) for name, weight in undisturbed.items())


def test_the_base_answers_as_it_did_before_it_got_an_adapter(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    before = answer(gemma.model, gemma.tokenizer, chosen, ASKED, 12)
    trainer = tiny.trainer(gemma, tiny.Gradients(), max_steps=6, learning_rate=3e-2)
    trainer.train()
    as_base = answer(trainer.model, gemma.tokenizer, chosen, ASKED, 12, as_base=True)
    adapted = answer(trainer.model, gemma.tokenizer, chosen, ASKED, 12)
    assert as_base == before
    assert adapted != before


def test_prompts_of_different_lengths_are_answered_as_alone(
    gemma_folder: Callable[[str], Path],
) -> None:
    gemma = tiny.loaded(gemma_folder("embedded"))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    together = answer(gemma.model, gemma.tokenizer, chosen, ASKED, 12)
    alone = [answer(gemma.model, gemma.tokenizer, chosen, [asked], 12)[0] for asked in ASKED]
    assert together == alone


def test_a_head_sees_last_positions_side_by_side(gemma_folder: Callable[[str], Path]) -> None:
    """Else a CPU copies its weights for every prompt, 64 times 0.3 GiB of Gemma 3 270M's."""
    gemma = tiny.loaded(gemma_folder("gemma3"))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    seen: list[bool] = []
    head = gemma.model.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].is_contiguous()))
    answer(gemma.model, gemma.tokenizer, chosen, ASKED, 3)
    assert seen == [True] * 3
    assert not head._forward_pre_hooks


def test_answers_that_nobody_waits_for_are_cut(gemma_folder: Callable[[str], Path]) -> None:
    """Heard between two tokens, whether a token was made or not; the model is left as it was."""
    gemma = tiny.loaded(gemma_folder("embedded"))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    heard: list[int] = []

    def is_cut() -> bool:
        heard.append(1)
        return len(heard) == 3

    gemma.model.train()
    with pytest.raises(Cut):
        answer(gemma.model, gemma.tokenizer, chosen, ASKED, 50, is_cut=is_cut)
    assert len(heard) == 3
    assert gemma.model.training
