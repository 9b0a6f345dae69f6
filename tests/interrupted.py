"""Runs of eight steps that something happens to, for tests of what goes on from them."""

import json
import os
from pathlib import Path
from typing import Any

from engine.run.rundir import RunDir
from tests import command

STEPS, EVERY = 8, 2
RECIPE = """
    adapter = { r = 4, lora_dropout = 0.1 }
    model = {}
    [data]
    sources = [
        { path = "a.jsonl", weight = 1.5 },
        { path = "b.jsonl", rows = 0.5 },
    ]
    max_length = 64
    packing = PACKING
    [training]
    max_steps = 8
    save_steps = 2
    save_total_limit = 2
    per_device_train_batch_size = 2
    gradient_accumulation_steps = 2
    deterministic = true
"""
"""Dropout, two sources, and an epoch of three or four steps."""


def written(folder: Path, packing: bool) -> None:
    """The recipe and its rows."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE.replace("PACKING", str(packing).lower()))
    for name, count in (("a", 9), ("b", 6)):
        rows = [
            {"question": f"What is {name} {n}?", "answer": f"It is {n * n}" + " or so" * (n % 4)}
            for n in range(count if not packing else count * 5)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, *, fail: str = "") -> tuple[int, RunDir]:
    """Start the recipe's run and wait for its end."""
    os.environ["GEMMA_BENCH_FAIL"] = fail
    try:
        code, _, err = command.call(folder, "--run", "recipe.toml", "--out", "run")
    finally:
        del os.environ["GEMMA_BENCH_FAIL"]
    assert fail or code == 0, err
    return code, RunDir(folder / "run")


def stitched(run: RunDir) -> dict[int, tuple[Any, ...]]:
    """What was told of each step last."""
    names = ("loss", "grad_norm", "learning_rate", "token_accuracy")
    steps = [record for record in command.records(run) if record["kind"] == "step"]
    return {
        step["step"]: (step["tokens"], step["epoch"], *(step["metrics"][name] for name in names))
        for step in steps
    }
