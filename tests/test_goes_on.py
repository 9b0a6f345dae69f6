"""Every kind of adapter and optimizer goes on from a checkpoint as if nothing had happened."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.gemma.lora_targets import ATTENTION
from engine.recipe.schema import Adapter
from engine.run import checkpoint_manifest
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.hooks.save_checkpoints import SaveCheckpoints
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.saving.checkpoints import Checkpoints
from engine.train.state import TrainingState, restore_weights
from tests import tiny

STEPS, AT = 5, 3
PLAIN = {"r": 2, "lora_alpha": 4}
EXPERTS = {**PLAIN, "target_modules": ATTENTION, "target_experts": True}
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "dora": ("gemma3", "none", {**PLAIN, "method": "dora"}, {}),
    "dora over nf4": ("gemma3", "nf4", {**PLAIN, "method": "dora"}, {}),
    "experts": ("gemma4_moe", "none", EXPERTS, {}),
    "lora+": ("gemma3", "none", PLAIN, {"loraplus_lr_ratio": 8.0, "weight_decay": 0.1}),
    "8 bit": ("gemma3", "none", {**PLAIN, "r": 64}, {"optim": "adamw_8bit"}),
    "paged": ("gemma3", "none", {**PLAIN, "r": 64}, {"optim": "paged_adamw_8bit"}),
}


class AskForOne(Hook):
    """Asks for one save, after the step that is gone on from."""

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        state.should_save = result.step == AT


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_to_the_bit(
    case: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    kind, quantization, adapter, settings = CASES[case]
    run = RunDir(tmp_path)
    checkpoints = Checkpoints(run, 1, {})

    def made(recorded: tiny.Gradients) -> tiny.Trial:
        return tiny.trainer(
            tiny.loaded(gemma_folder(kind), quantization), recorded, AskForOne(),
            SaveCheckpoints(EventLog(run), checkpoints),
            adapter=Adapter(**adapter, lora_dropout=0.0 if "target_experts" in adapter else 0.1),
            **{"max_steps": STEPS, "per_device_train_batch_size": 2, "learning_rate": 1e-3,
               "warmup_steps": 0.0, **settings},
        )  # fmt: skip

    first = tiny.Gradients()
    whole = made(first)
    whole.train()
    checkpoint, rejected = checkpoint_manifest.newest(run)
    assert checkpoint is not None
    assert (checkpoint.step, rejected) == (AT, [])
    second = tiny.Gradients()
    resumed = made(second)
    resumed.train(checkpoint.folder)
    assert len(first.losses) == STEPS
    assert second.losses == first.losses[AT:]
    ours, theirs = trained(resumed.model), trained(whole.model)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("case", ["dora", "experts"])
def test_a_weight_that_lacks_is_refused(
    case: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Whatever the kind of it: nothing starts anew unsaid."""
    kind, quantization, adapter, _ = CASES[case]
    trainer = tiny.trainer(
        tiny.loaded(gemma_folder(kind), quantization), tiny.Gradients(),
        adapter=Adapter(**adapter),
    )  # fmt: skip
    trainer.model.save_pretrained(tmp_path / "whole")
    weights = load_file(tmp_path / "whole" / "adapter_model.safetensors")
    special = next(name for name in weights if "magnitude" in name or "expert" in name)
    for name in (next(iter(weights)), special):
        save_file(
            {other: value for other, value in weights.items() if other != name},
            tmp_path / "adapter_model.safetensors",
        )
        with pytest.raises(ValueError, match="not this run's"):
            restore_weights(trainer.state, tmp_path)


def test_the_newest_are_kept_whatever_the_clock_says(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Set back and ahead between saves, and the files' own times shuffled."""
    run = RunDir(tmp_path)
    trainer = tiny.trainer(tiny.loaded(gemma_folder("gemma3")), tiny.Gradients())
    trainer.train()
    checkpoints = Checkpoints(run, 2, {})
    for step, offset_s in ((2, 0), (4, -3600), (6, 3600), (8, -86_400), (10, 7)):
        trainer.state.progress.step = step
        checkpoints.save(trainer.state)
        for path in (run.checkpoint(step), *run.checkpoint(step).iterdir()):
            os.utime(path, (1e9 + offset_s, 1e9 + offset_s))
        assert [at for at, _ in checkpoint_manifest.folders(run)] == (
            [step, step - 2] if step > 2 else [2]
        )
        found = checkpoint_manifest.newest(run)[0]
        assert found
        assert found.step == step
