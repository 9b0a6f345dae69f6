"""A simulated step against what PyTorch's CPU allocator holds during the real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from engine.budget.step_shape import StepShape
from engine.data.batches import TokenSequence
from engine.model import lora
from engine.model.load import load
from engine.model.patches.supervised_only import score_supervised_only
from engine.recipe.schema import ATTENTION, MLP, Adapter, Model
from tests import tiny
from tests.measured_step import MEASURED_STEP, Allocations
from tools.simulator import step
from tools.simulator.configuration import configuration, source

LENGTH, BATCH, SCORED = 320, 2, 4
"""Few tokens are scored, so that layers hold more than the head does."""


def simulated_bytes(folder: Path, **case: Any) -> int:
    asked = StepShape(
        model=str(folder),
        r=4,
        target_modules=ATTENTION + MLP,
        batch=BATCH,
        device="cpu",
        is_text_only=True,
        **case,
    )
    simulated = step.simulate(configuration(source(str(folder))), asked)
    assert simulated.missing == []
    return simulated.tracker.high()[1].allocated_bytes


def sequences(*, restarts: bool) -> list[TokenSequence]:
    ids = [5 + place % 50 for place in range(LENGTH)]
    labels = [-100] * (LENGTH - SCORED) + ids[-SCORED:]
    positions = [*range(100), *range(LENGTH - 100)] if restarts else [*range(LENGTH)]
    return [TokenSequence(ids, labels, positions)] * (BATCH * (MEASURED_STEP + 2))


def measured_bytes(
    folder: Path, staging: Path, dtype: str, quantization: str, restarts: bool, **training: Any
) -> int:
    choice = Model(path=str(folder), dtype=dtype, quantization=quantization)
    allocations = Allocations()
    trainer = tiny.trainer(
        load(choice, tiny.CPU),
        staging,
        allocations,
        sequences(restarts=restarts),
        per_device_train_batch_size=BATCH,
        max_steps=MEASURED_STEP + 1,
        **training,
    )
    allocations.trainer = trainer
    trainer.train()
    return allocations.peak_bytes


@pytest.mark.parametrize(
    ("kind", "dtype", "quantization", "checkpointing", "restarts"),
    [
        ("gemma3", "float32", "none", True, False),
        ("gemma3", "bfloat16", "none", False, True),
        ("embedded", "float32", "none", True, False),
        ("embedded", "bfloat16", "nf4", True, True),
        ("gemma4_moe", "float32", "none", True, False),
        ("gemma4_moe", "float32", "nf4", True, False),
        ("gemma4_moe", "bfloat16", "nf4", True, True),
        ("gemma4_multimodal", "bfloat16", "none", False, False),
    ],
)
def test_a_step_holds_what_was_simulated(
    kind: str,
    dtype: str,
    quantization: str,
    checkpointing: bool,
    restarts: bool,
    gemma_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = gemma_folder(kind)
    measured = measured_bytes(
        folder, tmp_path, dtype, quantization, restarts, gradient_checkpointing=checkpointing
    )
    simulated = simulated_bytes(
        folder,
        dtype=dtype,
        quantization=quantization,
        expert_block_size=64 if quantization == "nf4" else 0,
        gradient_checkpointing=checkpointing,
        restarts=restarts,
        length=LENGTH,
        supervised_tokens=SCORED * BATCH,
    )
    assert simulated == pytest.approx(measured, rel=1e-3)


@pytest.mark.parametrize("cached", [False, True])
def test_a_step_on_preferences_holds_what_was_simulated(
    cached: bool, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """TRL's own trainer, on pairs of the same length.

    It makes the adapter itself: of one that is there already it keeps a copy for the reference.
    """
    folder = gemma_folder("gemma3")
    gemma = tiny.loaded(folder)
    score_supervised_only()
    rows = [{"prompt": "one two " * 60, "chosen": " a b c d", "rejected": " d c b a"}] * 8
    allocations = Allocations()
    trainer = DPOTrainer(
        model=gemma.model,
        peft_config=lora.configuration(gemma.model, Adapter(r=4, lora_alpha=8)),
        args=DPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=BATCH,
            max_steps=MEASURED_STEP + 1,
            max_length=1024,
            precompute_ref_log_probs=cached,
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            bf16=False,
            use_cpu=True,
            optim="adamw_torch",
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=gemma.tokenizer,
        callbacks=[allocations],
    )
    allocations.trainer = trainer
    batch = next(iter(trainer.get_train_dataloader()))
    assert bool(batch["attention_mask"].all())
    trainer.train()
    simulated = simulated_bytes(
        folder,
        dtype="float32",
        objective="dpo_cached" if cached else "dpo",
        length=batch["input_ids"].shape[1],
        supervised_tokens=int(batch["completion_mask"].sum()),
    )
    assert simulated == pytest.approx(allocations.peak_bytes, rel=1e-3)
