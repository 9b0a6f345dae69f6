"""A run in which an adapter isn't trained says so, with the figures that show it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.model import lora
from engine.recipe.schema import Adapter
from engine.run.rundir import RunDir
from engine.train.hooks.adapter_check import bit_sums, judge_saved
from tests import command, tiny

Folder = Callable[[str], Path]
DORA = Adapter(method="dora", r=4, lora_alpha=8)
RECIPE = """
    [data]
    sources = [{ path = "rows.jsonl" }, { path = "again.jsonl" }]
    [training]
    max_steps = 3
    warmup_steps = 2
"""
COPIES = """
import engine.train.optimizer as optimizer
right = optimizer._groups
def groups(*arguments):
    return [
        {**group, "params": [p.detach().clone().requires_grad_() for p in group["params"]]}
        for group in right(*arguments)
    ]
optimizer._groups = groups
"""
"""What is stepped is a copy of what the model runs on."""
CUT = """
import torch, engine.model.lora as lora
right = lora.attach
def attach(*arguments):
    model = right(*arguments)
    for name, module in model.named_modules():
        if name.endswith("layers.1.self_attn.q_proj.lora_B"):
            module.default.weight.register_hook(torch.zeros_like)
    return model
lora.attach = attach
"""
"""No gradient passes one module."""
OTHER_FILE = """
import peft, safetensors.torch as files
right = peft.PeftModel.save_pretrained
def save(self, folder, *arguments, **settings):
    right(self, folder, *arguments, **settings)
    path = f"{folder}/adapter_model.safetensors"
    tensors = files.load_file(path)
    name = sorted(tensors)[0]
    tensors[name] += 1e-3
    files.save_file(tensors, path)
peft.PeftModel.save_pretrained = save
"""
"""One tensor of the file is not the model's."""


def run(folder: Path, plant: str, *settings: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and warnings by code of a run of three steps into whose engine a bug is planted."""
    (folder / "recipe.toml").write_text(RECIPE)
    rows = [{"question": f"What is {n}?", "answer": f"It is {n * n}."} for n in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "again.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (folder / "plant").mkdir()
    bug = "".join(f"        {line}\n" for line in plant.splitlines())
    (folder / "plant/sitecustomize.py").write_text(
        "import sys\n"
        "class Plant:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name != 'engine.jobs.train_job' or self not in sys.meta_path:\n"
        "            return None\n"
        "        sys.meta_path.remove(self)\n"
        f"{bug}"
        "sys.meta_path.insert(0, Plant())\n"
    )
    with pytest.MonkeyPatch.context() as environment:
        path = os.pathsep.join(filter(None, [str(folder / "plant"), os.environ.get("PYTHONPATH")]))
        environment.setenv("PYTHONPATH", path)
        code, _, _ = command.call(folder, "--run", "recipe.toml", "--out", "run", *settings)
    records = command.records(RunDir(folder / "run"))
    return code, {record["code"]: record for record in records if record["kind"] == "warning"}


def test_a_run_that_trains_is_told_of_its_unseen_source_alone(tmp_path: Path) -> None:
    code, warnings = run(tmp_path, "pass")
    assert code == 0
    assert warnings.keys() == {"source_unseen"}
    assert warnings["source_unseen"]["message"] == (
        "no row of again.jsonl is trained on in an epoch: of 1 rows 0 could be taken "
        "(dropped: 1 a duplicate of an earlier row)"
    )


def test_an_optimizer_that_holds_copies_is_told(tmp_path: Path) -> None:
    code, warnings = run(tmp_path, COPIES)
    assert code == 0
    unchanged = warnings["adapter_unchanged"]["message"]
    # The first step of the warm-up has a rate of zero, and proves nothing.
    assert unchanged.startswith("step 2 changed none of the adapter's ")
    assert "learning rate of 0.0001 and a gradient norm of" in unchanged
    assert "answers as its base does" in warnings["adapter_is_zero"]["message"]


def test_a_module_that_no_gradient_reaches_is_named(tmp_path: Path) -> None:
    _, warnings = run(tmp_path, CUT)
    told = warnings["adapter_without_gradient"]["message"]
    assert "the B matrices of 1 adapted modules" in told
    assert "layers.1.self_attn.q_proj" in told
    assert "adapter_unchanged" not in warnings


def test_a_file_with_other_tensors_is_told(tmp_path: Path) -> None:
    _, warnings = run(tmp_path, OTHER_FILE)
    told = warnings["adapter_file_differs"]["message"]
    assert told.startswith("1 of ")
    assert "adapter/adapter_model.safetensors" in told


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("adapter", [Adapter(r=4), DORA])
def test_a_saved_adapter_is_the_model_s(
    adapter: Adapter, quantization: str, gemma_folder: Folder, tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder("gemma3"), quantization)
    trainer = tiny.trainer(gemma, adapter=adapter, warmup_steps=0.0)
    before = bit_sums(trainer.model)
    trainer.train()
    after = bit_sums(trainer.model)
    assert all(after[name] != total for name, total in before.items())
    trainer.model.save_pretrained(tmp_path)
    assert not [*judge_saved(trainer.model, tmp_path)]
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    codes = [warning.code for warning in judge_saved(trainer.model, tmp_path)]
    assert codes == ["adapter_is_zero", "adapter_file_differs"]


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_8bit"])
@pytest.mark.parametrize("ratio", [1.0, 8.0])
def test_magnitudes_do_not_decay(optim: str, ratio: float, gemma_folder: Folder) -> None:
    """They start as the lengths of the base's rows; the matrices decay as the recipe says."""

    def stepped(weight_decay: float) -> dict[str, torch.Tensor]:
        trainer = tiny.trainer(
            tiny.loaded(gemma_folder("gemma3")), adapter=DORA, optim=optim, warmup_steps=0.0,
            learning_rate=1e-2, loraplus_lr_ratio=ratio, weight_decay=weight_decay,
        )  # fmt: skip
        trainer.train()
        return {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}

    whole, decayed = stepped(0.0), stepped(0.5)
    for name, tensor in whole.items():
        is_equal = torch.equal(tensor, decayed[name])
        assert is_equal == (lora.MAGNITUDE in name), name


def test_a_row_of_zeros_has_no_direction(gemma_folder: Folder) -> None:
    gemma = tiny.loaded(gemma_folder("gemma3"))
    gemma.model.model.layers[1].mlp.up_proj.weight.data[3] = 0
    lora.attach(gemma.model, Adapter(r=4), 0).unload()
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj has rows of zeros.*adapter\."):
        lora.attach(gemma.model, DORA, 0)


def test_an_entry_that_means_nothing_is_refused_beside_others(gemma_folder: Folder) -> None:
    model = tiny.loaded(gemma_folder("gemma3")).model
    with pytest.raises(ValueError, match="no module named per_layer_projection in its layers"):
        lora.target_modules(model, ("q_proj", "per_layer_projection"))
