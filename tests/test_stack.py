"""What libraries do behind a recipe's back, as docs/stack.md lists it."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.recipe import validate
from engine.recipe.schema import Adapter
from engine.train.training_state import restore_optimizer
from tests import tiny
from workbench.other_trainers import mapping

Folder = Callable[[str], Path]
ROOT = Path(__file__).parents[1]
NAMES = re.compile(r"`(findings/\w+\.sh|test_\w+(?:::test_\w+)?)`")


def test_every_test_and_script_of_the_table_is_there() -> None:
    rows = [line for line in (ROOT / "docs/stack.md").read_text().splitlines() if "|" in line][2:]
    assert len(rows) >= 12
    for row in rows:
        names = NAMES.findall(row.split("|")[-2])
        assert names, row
        for name in names:
            file, _, test = name.partition("::")
            path = ROOT / file if "/" in file else ROOT / "tests" / f"{file}.py"
            assert path.exists(), name
            assert f"def {test}" in path.read_text() or not test, name


@pytest.mark.parametrize(
    ("section", "key", "value", "why"),
    [
        ("training", "min_lr", 1.0, "no floor"),
        ("training", "min_lr_rate", 1.0, "no floor"),
        ("training", "lr_scheduler_kwargs", {"min_lr": 1.0}, "no floor"),
        ("adapter", "trainable_token_indices", [5], "tables and heads are not trained"),
        ("adapter", "modules_to_save", ["embed_tokens"], "tables and heads are not trained"),
        ("adapter", "init_lora_weights", "lora_ga", "as LoRA's paper has it"),
        ("adapter", "init_lora_weights", "pissa", "as LoRA's paper has it"),
        ("adapter", "rank_pattern", {"q_proj": 8}, "the same rank"),
    ],
)
def test_what_is_not_trained_is_refused_by_name(
    section: str, key: str, value: object, why: str
) -> None:
    document = {"data": {"sources": [{"path": "rows.jsonl"}]}, section: {key: value}}
    (problem,) = validate.problems(document, on_paper=True)
    assert (problem.key, problem.reason) == (f"{section}.{key}", "unknown key")
    assert why in problem.fix
    (row,) = mapping.rows({key: value})
    assert (row.is_lost, row.settings) == (True, {})
    assert why in row.reason


@pytest.mark.parametrize("ratio", [1.0, 4.0])
@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_8bit"])
def test_a_branch_takes_the_recipe_s_decay(optim: str, ratio: float, gemma_folder: Folder) -> None:
    def run(weight_decay: float) -> tiny.Trial:
        return tiny.trainer(
            tiny.loaded(gemma_folder("gemma3")), optim=optim, loraplus_lr_ratio=ratio,
            weight_decay=weight_decay, warmup_steps=0.0,
        )  # fmt: skip

    parent, branch = run(0.25), run(0.5)
    parent.train()
    restore_optimizer(branch.state.optimizer, copy.deepcopy(parent.state.optimizer.state_dict()))
    groups = [group for group in branch.state.optimizer.param_groups if group["params"]]
    assert {group["weight_decay"] for group in groups} == {0.5}
    assert branch.state.optimizer.state_dict()["state"]


def test_moments_of_other_groups_are_refused(gemma_folder: Folder) -> None:
    dora = Adapter(method="dora", r=4)
    parent = tiny.trainer(tiny.loaded(gemma_folder("gemma3")))
    other = tiny.trainer(tiny.loaded(gemma_folder("gemma3")), adapter=dora)
    with pytest.raises(ValueError, match=r"groups of \[\d+, 0\] tensors, this one of \[\d+, \d+\]"):
        restore_optimizer(other.state.optimizer, parent.state.optimizer.state_dict())
