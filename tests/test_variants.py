"""Recipes of every Gemma and of the published set-ups: they resolve, and fit where they say."""

from typing import Any

import pytest

from engine.budget import placement
from engine.gemma import catalog, parameters
from engine.hardware import profiles
from engine.problems import Refusal
from engine.recipe import files, validate
from engine.recipe.schema import Recipe
from tests.command import call

GEMMAS = [name for name in files.names() if name != files.QUICKSTART]
HELD = {"lora": "none", "qlora": "nf4"}
SETTINGS: dict[str, dict[str, Any]] = {
    "gemma4-e2b-lora-sft-korean": {
        "model.path": "google/gemma-4-e2b-it", "model.quantization": "none",
        "adapter.r": 16, "adapter.lora_alpha": 32, "adapter.lora_dropout": 0.05,
        "data.max_length": 512, "training.per_device_train_batch_size": 1,
        "training.gradient_accumulation_steps": 8, "training.learning_rate": 1e-4,
        "training.lr_scheduler_type": "cosine", "training.warmup_steps": 0.05,
        "training.num_train_epochs": 1.0, "training.optim": "adamw_torch",
        "training.gradient_checkpointing": True,
    },
    "gemma4-e2b-qlora-sft-guide": {
        "model.path": "google/gemma-4-E2B-it", "model.quantization": "nf4",
        "training.per_device_train_batch_size": 2, "training.gradient_accumulation_steps": 4,
        "training.learning_rate": 2e-4, "training.num_train_epochs": 3.0,
        "training.optim": "adamw_8bit",
    },
    **{
        f"gemma3-{size}-qlora-sft-tr": {
            "model.path": f"google/gemma-3-{size}-it", "model.quantization": "nf4",
            "adapter.r": 32, "adapter.lora_alpha": 64, "adapter.lora_dropout": 0.05,
            "data.max_length": 4096, "data.packing": True,
            "training.per_device_train_batch_size": 2, "training.gradient_accumulation_steps": 4,
            "training.learning_rate": 2e-4, "training.num_train_epochs": 1.0,
            "training.optim": "paged_adamw_8bit", "training.gradient_checkpointing": True,
        }
        for size in ("4b", "12b")
    },
    "gemma4-e4b-lora-sft-frames": {
        "model.path": "google/gemma-4-E4B-it", "model.quantization": "none",
        "model.dtype": "bfloat16",
        "adapter.r": 16, "adapter.lora_alpha": 32, "adapter.lora_dropout": 0.05,
        "training.per_device_train_batch_size": 1, "training.gradient_accumulation_steps": 8,
        "training.learning_rate": 2e-4, "training.lr_scheduler_type": "cosine",
        "training.warmup_steps": 0.03, "training.num_train_epochs": 3.0,
        "training.optim": "paged_adamw_8bit", "training.weight_decay": 0.0,
        "training.max_grad_norm": 1.0, "training.gradient_checkpointing": True,
        "training.save_steps": 200, "training.save_total_limit": 2,
    },
    "gemma4-26b-a4b-qlora-sft-ops": {
        "model.path": "google/gemma-4-26B-A4B-it", "model.quantization": "nf4",
        "adapter.r": 16, "adapter.lora_alpha": 16,
        "adapter.target_modules": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "data.max_length": 512, "data.loss_on": "last",
        "training.per_device_train_batch_size": 1, "training.learning_rate": 2e-5,
        "training.num_train_epochs": 2.0, "training.gradient_checkpointing": True,
    },
}  # fmt: skip
"""What the pages of the published set-ups state, by recipe."""
CARDS = {
    "gemma4-e2b-lora-sft-korean": "apple-m", "gemma4-e2b-qlora-sft-guide": "rtx-3060-8gb",
    "gemma3-4b-qlora-sft-tr": "rtx-4090", "gemma3-12b-qlora-sft-tr": "rtx-4090",
    "gemma4-26b-a4b-qlora-sft-ops": "rtx-3090",
}  # fmt: skip
"""The hardware they were made on, where that is stated."""
ROWS_TO_GIVE = ["gemma4-e4b-lora-sft-frames", "gemma4-26b-a4b-qlora-sft-ops"]
TRAINED = {
    "gemma4-e2b-lora-sft-korean": 24_158_208,
    "gemma4-26b-a4b-lora-sft": 18_585_600,
    "gemma4-26b-a4b-qlora-sft-ops": 11_489_280,
}


def on_paper(name: str) -> Recipe:
    return validate.load(name, [], on_paper=True)[0]


@pytest.mark.parametrize("variant", catalog.names())
@pytest.mark.parametrize("adapter", HELD)
def test_every_gemma_has_a_recipe_with_lora_and_with_qlora(variant: str, adapter: str) -> None:
    recipe = on_paper(f"{variant.lower().replace('gemma-', 'gemma')}-{adapter}-sft")
    assert recipe.model.path == catalog.variant_of(variant).hub_id
    assert recipe.model.quantization == HELD[adapter]


@pytest.mark.parametrize("name", GEMMAS)
def test_a_recipe_fits_the_hardware_that_it_names(name: str) -> None:
    profile = profiles.profile(files.hardware_of(name))
    found = placement.forecast_recipe(on_paper(name), profile).budget
    assert found.verdict == "fits", f"{found.device} of {profile.usable_gib} GiB"
    assert CARDS.get(name, profile.name) == profile.name


@pytest.mark.parametrize("name", SETTINGS)
def test_a_published_set_up_has_its_stated_settings(name: str) -> None:
    recipe = on_paper(name)
    found = {}
    for key in SETTINGS[name]:
        section, _, last = key.partition(".")
        found[key] = getattr(getattr(recipe, section), last)
    assert found == SETTINGS[name]


@pytest.mark.parametrize(("name", "count"), TRAINED.items())
def test_as_many_parameters_are_trained_as_are_published(name: str, count: int) -> None:
    recipe = on_paper(name)
    shape, adapter = catalog.variant_of(recipe.model.path), recipe.adapter
    assert parameters.lora(shape, adapter.target_modules, adapter.r) == count


def test_recipes_go_by_generation_and_size() -> None:
    names = files.names()
    assert [files.family(name) for name in names] == sorted(map(files.family, names))
    paths = [on_paper(name).model.path for name in names]
    models = [catalog.variant_of(path).name for path in paths[1:] if not path.endswith("gguf")]
    assert list(dict.fromkeys(models)) == catalog.names()


@pytest.mark.parametrize("name", ROWS_TO_GIVE)
def test_rows_that_only_the_user_has_are_asked_for(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal) as refused:
        validate.load(name, [])
    (problem,) = refused.value.problems
    assert (problem.key, problem.reason) == ("data.sources.0.path", "no such file")
    assert "data.sources" in problem.fix
    (tmp_path / "mine.jsonl").write_text('{"messages": []}\n')
    loaded, _ = validate.load(name, ['data.sources=[{path="mine.jsonl"}]'])
    assert loaded.data.sources[0].path == str(tmp_path / "mine.jsonl")
    code, out, err = call(tmp_path, "--run", name)
    assert (code, out) == (2, "")
    assert "no such file" in err
    assert "Traceback" not in err
