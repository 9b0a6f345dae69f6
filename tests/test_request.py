"""A run's request: written and read again, of older versions too, and refused where damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.problems import Refusal
from engine.run.request import Parent, Request
from engine.run.rundir import RunDir
from tests.asked import request

OLD: dict[str, Any] = {
    "name": "quickstart",
    "recipe": {
        "model": {"path": "embedded"},
        "data": {"sources": [{"path": "rows.jsonl"}], "max_length": 128},
        "training": {"learning_rate": 0.5},
    },
    "recipe_file": "/recipes/quickstart.toml",
    "overrides": ["training.learning_rate=0.5"],
    "hardware": {
        "name": "cpu", "title": "CPU", "device": "cpu", "memory_gib": 16.0,
        "usable_share": 0.75, "has_bf16": False, "reason": "", "has_since_gone": True,
    },
    "argv": ["gemma-bench", "--run", "quickstart"],
}  # fmt: skip
"""Of a version that knew of no forecast, with a figure of hardware that is no more."""


def laid_down(folder: Path, document: Any) -> RunDir:
    run = RunDir(folder)
    run.request.write_text(document if isinstance(document, str) else json.dumps(document))
    return run


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"forecast": {"fits": True, "rows": [{"part": "weights", "gib": 1.5}]}},
        {"parent": Parent("mine", "/runs/mine", 20), "argv": ("a", "\udcff", "한국")},
    ],
    ids=["plain", "forecast", "branch"],
)
def test_what_is_written_is_read(changes: dict[str, Any], tmp_path: Path) -> None:
    asked = replace(request(overrides=("adapter.r=4",)), **changes)
    run = RunDir(tmp_path)
    run.write_request(asked)
    assert run.read_request() == asked
    assert asked.recipe.adapter.r == 4
    assert asked.as_dict().get("parent") == run.read_request_document().get("parent")


def test_the_keys_on_the_disk_stay_what_they_were() -> None:
    """Scripts read them, and gemma-bench of yesterday."""
    document = replace(request(), parent=Parent("mine", "/runs/mine", 20)).as_dict()
    assert {*document} == {*OLD, "forecast", "parent"}
    assert document["recipe"]["adapter"]["lora_alpha"] == request().recipe.adapter.lora_alpha
    assert document["parent"] == {"run": "mine", "path": "/runs/mine", "step": 20}


def test_an_old_request_is_read(tmp_path: Path) -> None:
    asked = laid_down(tmp_path, OLD).read_request()
    assert (asked.name, asked.recipe_file) == ("quickstart", "/recipes/quickstart.toml")
    assert (asked.recipe.training.learning_rate, asked.recipe.data.max_length) == (0.5, 128)
    assert (asked.hardware.name, asked.hardware.usable_gib) == ("cpu", 12.0)
    assert asked.overrides == ("training.learning_rate=0.5",)
    assert (asked.forecast, asked.parent) == (None, None)
    assert Request.from_dict(asked.as_dict()) == asked


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[1]",
        "null",
        "[" * 100_000,
        {},
        {"recipe": {}},
        OLD | {"recipe": None},
        OLD | {"hardware": []},
        OLD | {"hardware": {"name": "cpu"}},
        OLD | {"hardware": {**OLD["hardware"], "memory_gib": "much"}},
        OLD | {"forecast": 3},
        OLD | {"overrides": 3},
        OLD | {"parent": {"run": "mine"}},
        json.dumps(OLD).replace('"embedded"', "[" * 900 + "]" * 900),
    ],
    ids=range(15),
)
def test_a_damaged_one_is_refused(damaged: Any, tmp_path: Path) -> None:
    run = laid_down(tmp_path, damaged)
    with pytest.raises(Refusal, match=r"request\.json: it") as refused:
        run.read_request()
    assert refused.value.exit_code == 2
    assert "Start another run" in str(refused.value)


def test_one_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="it is damaged and can't be read"):
        RunDir(tmp_path).read_request()


def test_a_recipe_of_another_version_is_named(tmp_path: Path) -> None:
    recipe = {**OLD["recipe"], "training": {"learning_speed": 1}}
    run = laid_down(tmp_path, OLD | {"recipe": recipe})
    with pytest.raises(Refusal, match=r"recipe is none of this version: training\.learning_speed"):
        run.read_request()
    assert run.read_request_document()["recipe"] == recipe
