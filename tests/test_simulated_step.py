"""A simulated step against what PyTorch's CPU allocator holds during the real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.budget.step_shape import StepShape
from engine.data.batches import TokenSequence
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.model.load import load
from engine.recipe.schema import Model
from tests import tiny
from tests.measured_step import MEASURED_STEP, Allocations
from tools.simulator import step
from tools.simulator.configuration import configuration, source

EMULATED = pytest.mark.xfail(
    not torch.cpu.get_capabilities().get("avx512_bf16", True),
    strict=True,
    reason="without bfloat16 units the step holds 0.9 % more than is simulated: one activation",
)
"""Seen on an AVX-512 processor without them, torch 2.13; on one with them it is equal."""
WITH_TILES = pytest.mark.xfail(
    torch.cpu.get_capabilities().get("amx_bf16", False),
    strict=True,
    reason="with AMX the step holds 1.0 % more than is simulated: one activation",
)
"""Seen on an AMX processor, torch 2.13: 13,296,078 bytes beside 13,164,756; equal without AMX."""
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
        allocations,
        sequences=sequences(restarts=restarts),
        per_device_train_batch_size=BATCH,
        max_steps=MEASURED_STEP + 1,
        **training,
    )
    allocations.trial = trainer
    trainer.train()
    return allocations.peak_bytes


@pytest.mark.parametrize(
    ("kind", "dtype", "quantization", "checkpointing", "restarts"),
    [
        ("gemma3", "float32", "none", True, False),
        ("gemma3", "bfloat16", "none", False, True),
        ("embedded", "float32", "none", True, False),
        pytest.param("embedded", "bfloat16", "nf4", True, True, marks=EMULATED),
        ("gemma4_moe", "float32", "none", True, False),
        ("gemma4_moe", "float32", "nf4", True, False),
        ("gemma4_moe", "bfloat16", "nf4", True, True),
        pytest.param("gemma4_multimodal", "bfloat16", "none", False, False, marks=WITH_TILES),
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
