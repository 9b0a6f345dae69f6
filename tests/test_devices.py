"""What devices can't do is said before a run, and how it computes is settled and told."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.budget.placement import resolved_step
from engine.hardware import profiles
from engine.model.load import load
from engine.problems import Refusal
from engine.recipe import validate_device
from engine.recipe.schema import Model, Recipe
from engine.train import determinism
from tests import tiny
from workbench.recipe_editor import fit_check, recipe_assessment

ROOT = Path(__file__).parents[1]
SOURCES = [{"path": "a.jsonl", "seed": 3}, {"path": "b.jsonl"}]


def recipe(quantization: str = "none", **training: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"path": "google/gemma-3-1b-it", "quantization": quantization},
            "data": {"sources": SOURCES, "seed": 2},
            "training": {"seed": 1, **training},
        }
    )


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"])
def test_what_apples_gpus_lack_is_told_with_what_to_take(optim: str) -> None:
    mac, card = profiles.profile("apple-m"), profiles.profile("l4")
    asked = recipe("nf4", optim=optim)
    found = {problem.key: problem for problem in validate_device.with_profile(asked, mac)}
    assert found.keys() == {"training.optim", "model.quantization"}
    assert "adamw_torch" in found["training.optim"].fix
    assert 'model.quantization = "none"' in found["model.quantization"].fix
    with pytest.raises(Refusal) as refused:
        fit_check.forecast(asked, mac, anyway=True)
    assert refused.value.problems == [*found.values()]
    assert not validate_device.with_profile(recipe(optim="adamw_torch"), mac)
    assert not validate_device.with_profile(asked, card)


def test_the_setup_tells_it_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": []}\n')
    file = tmp_path / "mine.toml"
    file.write_text('model.quantization = "nf4"\n[data]\nsources = [{ path = "a.jsonl" }]\n')
    found = recipe_assessment.of_choice("apple-m", str(file), profiles.profile("cpu"))
    assert "model.quantization" in {problem.key for problem in found.problems}


@pytest.fixture
def as_before() -> Iterator[None]:
    """What is settled for a whole process, put back."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_an_algorithm_that_does_not_repeat_is_an_error(as_before: None) -> None:
    told = determinism.settle(recipe(deterministic=True))
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    assert told["algorithms"].startswith("deterministic")
    assert told["seeds"] == "adapter and dropout 1, order 2, rows of a.jsonl 3, b.jsonl 0"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_other_runs_take_any_algorithm_and_whole_float32(as_before: None) -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    told = determinism.settle(recipe())
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert told["TF32"].startswith("off")


def test_the_workspace_that_repeating_needs_is_counted() -> None:
    card, cpu = profiles.profile("l4"), profiles.profile("cpu")
    assert resolved_step(recipe(deterministic=True), card).cublas_workspace_bytes == 32 << 20
    assert resolved_step(recipe(), card).cublas_workspace_bytes == card.cublas_workspace_bytes
    assert resolved_step(recipe(deterministic=True), cpu).cublas_workspace_bytes == 0


@pytest.mark.parametrize(
    ("kind", "quantization"),
    [("embedded", "none"), ("gemma4_moe", "nf4"), ("gemma4_multimodal", "none")],
)
def test_every_architecture_trains_deterministically(
    kind: str,
    quantization: str,
    gemma_folder: Callable[[str], Path],
    tmp_path: Path,
    as_before: None,
) -> None:
    determinism.settle(recipe(deterministic=True))
    gemma, kept = tiny.loaded(gemma_folder(kind), quantization), tiny.Gradients()
    trainer = tiny.trainer(gemma, kept, max_steps=2, gradient_checkpointing=True)
    trainer.train()
    assert len(kept.losses) == 2


@pytest.mark.parametrize(
    ("has_flash", "widest", "is_told"), [(False, 16, False), (True, 16, True), (True, 64, False)]
)
def test_heads_too_wide_for_flash_attention_are_told(
    has_flash: bool,
    widest: int,
    is_told: bool,
    gemma_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.model.load.FLASH_HEAD_WIDTH", widest)
    profile = replace(tiny.CPU, has_flash=has_flash)
    reasons = load(Model(path=str(gemma_folder("gemma4_moe"))), profile).reasons
    assert reasons["attention"].startswith("sdpa: ")
    assert ("no heads of 32, only up to 16" in reasons["attention"]) is is_told


ATTEND = """
import engine.__main__
engine.__main__._leave_tiles_out()
import torch
queries = torch.ones(1, 1, 64, 8, dtype=torch.bfloat16)
torch.nn.functional.scaled_dot_product_attention(queries, queries, queries)
"""


def test_attention_runs_without_avx512() -> None:
    """Packing for AMX, which torch fails at then, is left out on processors that have it."""
    scrubbed = {name: value for name, value in os.environ.items() if name != "DNNL_MAX_CPU_ISA"}
    environment = scrubbed | {"ATEN_CPU_CAPABILITY": "avx2"}
    subprocess.run([sys.executable, "-c", ATTEND], cwd=ROOT, env=environment, check=True)
