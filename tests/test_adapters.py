"""Adapters of every kind train, over whole and over 4-bit weights, and come back as they were."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import Gemma4ForCausalLM, Gemma4ForConditionalGeneration

from engine.data.encoding.template import template
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.model import lora
from engine.model.adapter_switch import attach, read
from engine.model.load import Loaded
from engine.paths import EMBEDDED_WEIGHTS, is_embedded_weights
from engine.problems import Refusal
from engine.recipe.schema import Adapter, Model, Training
from engine.run import adapters
from tests import tiny
from tests.conftest import KINDS

TOKENS = torch.tensor([[2, 105, 300, 301, 302, 303]])
EVERY_EXPERT = Adapter(r=2, lora_alpha=4, target_modules=ATTENTION, target_experts=True)
OPTIMS = get_args(Training.model_fields["optim"].annotation)
Folder = Callable[[str], Path]


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=TOKENS, use_cache=False).logits
    return found


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_an_expression_reaches_the_language_model_of_every_class(
    kind: str, gemma_folder: Folder
) -> None:
    model = tiny.loaded(gemma_folder(kind)).model
    assert lora.target_modules(model, r".*_proj") == lora.target_modules(model, ATTENTION + MLP)
    wanted = r"model\.language_model\.layers\.[02]\.self_attn\..*"
    named = lora.target_modules(model, wanted)
    assert {name.split("layers.")[1][:2] for name in named} == {"0.", "2."}
    adapted = lora.attach(model, Adapter(r=2, target_modules=wanted), 0)
    found = [name for name, module in adapted.named_modules() if isinstance(module, LoraLayer)]
    assert [name.removeprefix("base_model.model.") for name in found] == named


@pytest.mark.parametrize(
    ("kind", "expression", "told"),
    [
        ("gemma4_multimodal", ".*", "lm_head.*model.language_model.embed_tokens"),
        ("gemma4_multimodal", r".*per_layer\w*", "embed_tokens_per_layer.*per_layer_model_proj"),
        ("gemma4_moe", r".*\.\w*proj", r"model.layers.0.router.proj"),
        ("gemma4_multimodal", r"model\.vision_tower.*", "no module named"),
        ("gemma3", r".*per_layer_input_gate", "no module named"),
    ],
)
def test_what_must_stay_as_it_is_is_refused_by_name(
    kind: str, expression: str, told: str, gemma_folder: Folder
) -> None:
    model = tiny.loaded(gemma_folder(kind)).model
    with pytest.raises(ValueError, match=told):
        lora.target_modules(model, expression)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("kind", ["gemma3", "gemma4_multimodal"])
def test_dora_trains_magnitudes_too(
    kind: str, quantization: str, gemma_folder: Folder, tmp_path: Path
) -> None:
    gemma, kept = tiny.loaded(gemma_folder(kind), quantization), tiny.Gradients()
    adapter = Adapter(method="dora", r=4, lora_alpha=8, use_rslora=True)
    trainer = tiny.trainer(gemma, kept, adapter=adapter, max_steps=4, warmup_steps=0.0)
    before = trained(trainer.model)
    trainer.train()
    magnitudes = [name for name in before if "magnitude" in name]
    assert len(magnitudes) * 3 == len(before)
    after = trained(trainer.model)
    assert all(after[name].dtype == torch.float32 for name in after)
    assert all((after[name] != before[name]).any() for name in magnitudes)
    assert kept.losses[-1] < kept.losses[0]
    (scale,) = {
        module.scaling["default"]
        for module in trainer.model.modules()
        if isinstance(module, LoraLayer)
    }
    assert scale == 8 / math.sqrt(4)


def test_a_rate_of_a_millionth_moves_an_adapter_over_4_bit_weights(
    gemma_folder: Folder, tmp_path: Path
) -> None:
    """In bfloat16 nearly all of its entries would stay as they are."""
    gemma, kept = tiny.loaded(gemma_folder("gemma3"), "nf4", dtype="bfloat16"), tiny.Gradients()
    trainer = tiny.trainer(gemma, kept, learning_rate=1e-6, warmup_steps=0.0)
    before = trained(trainer.model)
    trainer.train()
    after = trained(trainer.model)
    for name, gradient in kept.gradients.items():
        touched = gradient.abs() > 1e-8
        assert touched.any()
        assert (after[name] != before[name])[touched].all(), name


def moved(folder: Path, staging: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """How far one step takes every trained weight."""
    settings = {"warmup_steps": 0.0, "learning_rate": 1e-3, **settings}
    trainer = tiny.trainer(tiny.loaded(folder), tiny.Gradients(), **settings)
    before = trained(trainer.model)
    trainer.train()
    return {name: weight - before[name] for name, weight in trained(trainer.model).items()}


@pytest.mark.parametrize("optim", OPTIMS)
def test_b_learns_at_a_rate_of_its_own(optim: str, gemma_folder: Folder, tmp_path: Path) -> None:
    folder = gemma_folder("gemma3")
    plain = moved(folder, tmp_path, optim=optim)
    found = moved(folder, tmp_path, optim=optim, loraplus_lr_ratio=8.0)
    assert found.keys() == plain.keys()
    for name, step in plain.items():
        ratio = float(found[name].norm() / step.norm())
        assert ratio == pytest.approx(8.0 if "lora_B" in name else 1.0, rel=2e-2), name


def test_the_schedule_scales_both_rates(gemma_folder: Folder, tmp_path: Path) -> None:
    """And weights decay as the recipe says."""
    gemma = tiny.loaded(gemma_folder("gemma3"))
    settings = {"loraplus_lr_ratio": 8.0, "learning_rate": 1e-3, "weight_decay": 0.25}
    trainer = tiny.trainer(
        gemma, tiny.Gradients(), max_steps=2, lr_scheduler_type="linear",
        warmup_steps=0.0, **settings,
    )  # fmt: skip
    for share in (1.0, 0.5):
        groups = [group for group in trainer.state.optimizer.param_groups if group["params"]]
        rates = [group["lr"] for group in groups]
        assert rates == pytest.approx([share * 1e-3, share * 8e-3])
        assert {group["weight_decay"] for group in groups} == {0.25}
        trainer.state.optimizer.step()
        trainer.state.schedule.step()


def test_experts_are_adapted_and_come_back(gemma_folder: Folder, tmp_path: Path) -> None:
    folder = gemma_folder("gemma4_moe")
    gemma, kept = tiny.loaded(folder), tiny.Gradients()
    named = lora.adapted(gemma.model, EVERY_EXPERT)
    assert [name for name in named if "experts" in name] == [
        f"model.layers.{layer}.experts.{stack}"
        for layer in range(4)
        for stack in ("gate_up_proj", "down_proj")
    ]
    base = logits(gemma.model)
    trainer = tiny.trainer(
        gemma, kept, adapter=EVERY_EXPERT, max_steps=2, gradient_checkpointing=True
    )
    trainer.train()
    of_experts = [gradient for name, gradient in kept.gradients.items() if ".experts." in name]
    assert len(of_experts) == 4 * 2 * 2
    assert all(gradient.abs().max() > 0 for gradient in of_experts)
    trainer.model.save_pretrained(tmp_path / "saved")
    saved = read(adapters.Adapter("saved", None, tmp_path / "saved"), Model(path=str(folder)))
    fresh = attach(tiny.loaded(folder), template("gemma4"), saved)
    with fresh.use("adapter"):
        assert torch.allclose(logits(fresh.model), logits(trainer.model), atol=1e-6)
    with fresh.use("base"):
        assert torch.equal(logits(fresh.model), base)


def saved(gemma: Loaded, folder: Path, model: Any) -> Any:
    """A filled adapter of that model, written and read again."""
    adapted = lora.attach(model, tiny.ADAPTER, 0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    adapted.save_pretrained(folder / "saved")
    told = adapted.peft_config["default"].base_model_name_or_path
    return read(adapters.Adapter("saved", None, folder / "saved"), Model(path=told))


def test_an_adapter_of_the_other_class_is_refused_with_both_names(
    gemma_folder: Folder, tmp_path: Path
) -> None:
    whole = tiny.loaded(gemma_folder("gemma4_multimodal"))
    assert isinstance(whole.model, Gemma4ForConditionalGeneration)
    text = Gemma4ForCausalLM(copy.deepcopy(whole.model.config.text_config))
    text.name_or_path = whole.model.name_or_path
    weights = saved(whole, tmp_path, whole.model)
    onto = replace(whole, model=text.eval())
    with pytest.raises(Refusal) as refused:
        attach(onto, template("gemma4"), weights)
    (problem,) = refused.value.problems
    assert "Gemma4ForCausalLM" in problem.reason
    assert "model.model.language_model.layers.0.mlp.down_proj.lora_A" in problem.reason
    assert "model.model.layers.0.mlp.down_proj.lora_A" in problem.reason


def test_an_adapter_that_lacks_a_module_is_refused(gemma_folder: Folder, tmp_path: Path) -> None:
    gemma = tiny.loaded(gemma_folder("gemma3"))
    weights = saved(gemma, tmp_path, gemma.model)
    assert weights.tensors.keys() == load_file(tmp_path / "saved" / adapters.WEIGHTS).keys()
    for name in [name for name in weights.tensors if "layers.3.mlp.up_proj" in name]:
        del weights.tensors[name]
    with pytest.raises(Refusal, match="2 of its weights don't fit Gemma3ForCausalLM: it has 27"):
        attach(tiny.loaded(gemma_folder("gemma3")), template("gemma3"), weights)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (str(EMBEDDED_WEIGHTS), True),
        ("/opt/gemma-bench/engine/model/embedded/weights", True),
        ("/opt/gemma-bench/myengine/model/embedded/weights", False),
        ("embedded/weights", False),
        ("google/gemma-3-1b-it", False),
    ],
)
def test_the_embedded_model_is_known_wherever_it_was_installed(path: str, expected: bool) -> None:
    """Adapters name the base that they were trained on by its path."""
    assert is_embedded_weights(path) is expected
