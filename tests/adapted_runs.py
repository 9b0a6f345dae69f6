"""Runs that left an adapter, without the training: what is learnt is drawn at random."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from engine.model import lora
from engine.recipe.schema import Adapter, Data, Model, Recipe, Source
from engine.run.request import Request
from engine.run.rundir import RunDir
from tests import tiny

QUESTIONS = [{"question": f"What is {n}?", "answer": f"It is {n * n}."} for n in range(6)]


def adapted(model: Any, adapter: Adapter, scale: float = 0.1) -> PeftModel:
    """The model with an adapter that changes what it says."""
    adapted_model = lora.attach(model, adapter, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=scale)
            elif lora.MAGNITUDE in name:
                parameter.mul_(1 + scale * torch.randn_like(parameter))
    return adapted_model.eval()


def left(
    folder: Path,
    base: str,
    *,
    scale: float = 0.1,
    quantization: str = "none",
    dtype: str = "float32",
    **choices: Any,
) -> tuple[RunDir, Any]:
    """A run of that base, and its adapted model."""
    run = RunDir(folder / "a run of mine")
    run.path.mkdir(parents=True)
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    adapter = Adapter(r=4, lora_alpha=16, **choices)
    choice = Model.model_validate({"path": base, "dtype": dtype, "quantization": quantization})
    recipe = Recipe(model=choice, adapter=adapter, data=Data(sources=(Source(path=str(rows)),)))
    run.write_request(Request("made", recipe, tiny.CPU))
    model = adapted(tiny.load(choice, tiny.CPU).model, adapter, scale)
    model.save_pretrained(run.adapter)
    return run, model
