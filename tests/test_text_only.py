"""Text alone is trained without towers, on the checkpoint's weights and under their names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.gemma.towers import MODULES
from engine.model import lora
from engine.model.patches.partial_models import towers_of
from engine.recipe.schema import Adapter
from tests import tiny

KINDS = ("gemma3_multimodal", "gemma4_multimodal", "gemma4_unified")
Folder = Callable[[str], Path]


@pytest.mark.parametrize("name", KINDS)
def test_the_model_is_the_same_but_for_its_towers(name: str, gemma_folder: Folder) -> None:
    whole = tiny.loaded(gemma_folder(name), has_towers=True).model
    loaded = tiny.loaded(gemma_folder(name))
    bare = loaded.model
    assert loaded.reasons["towers"] == "left out: no row holds an image"
    assert towers_of(whole)
    assert not towers_of(bare)
    assert type(bare) is type(whole)
    weights = dict(whole.named_parameters())
    left = {key for key in weights if any(f".{tower}." in f".{key}" for tower in MODULES)}
    assert left
    kept = dict(bare.named_parameters())
    assert kept.keys() == weights.keys() - left
    assert all(torch.equal(weights[key], kept[key]) for key in kept)
    ids = torch.tensor([[2, 105, 400, 500, 600]])
    assert torch.equal(whole(ids).logits, bare(ids).logits)


@pytest.mark.parametrize("name", KINDS)
def test_its_adapter_has_the_names_of_the_whole_model(name: str, gemma_folder: Folder) -> None:
    adapted = [
        lora.attach(tiny.loaded(gemma_folder(name), has_towers=has_towers).model, Adapter(r=2), 0)
        for has_towers in (True, False)
    ]
    whole, bare = ({key for key, p in one.named_parameters() if p.requires_grad} for one in adapted)
    assert whole == bare


@pytest.mark.parametrize("name", KINDS)
def test_a_weight_that_is_missing_is_an_error(
    name: str, gemma_folder: Folder, tmp_path: Path
) -> None:
    lost = _without(gemma_folder(name), tmp_path, lambda key: key.endswith("1.mlp.up_proj.weight"))
    with pytest.raises(ValueError, match=r"lacks 1 weights: .*layers.1.mlp.up_proj.weight"):
        tiny.loaded(lost)


def test_a_checkpoint_of_text_alone_is_enough_for_text(
    gemma_folder: Folder, tmp_path: Path
) -> None:
    text = _without(
        gemma_folder("gemma3_multimodal"),
        tmp_path,
        lambda key: "vision_tower" in key or "projector" in key,
    )
    assert tiny.loaded(text).model is not None
    with pytest.raises(ValueError, match=r"lacks \d+ weights"):
        tiny.loaded(text, has_towers=True)


def _without(folder: Path, made: Path, is_lost: Callable[[str], bool]) -> Path:
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    assert any(map(is_lost, weights))
    for file in folder.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    left = {key: tensor for key, tensor in weights.items() if not is_lost(key)}
    save_file(left, made / "model.safetensors", metadata={"format": "pt"})
    assert json.loads((made / "config.json").read_bytes())
    return made
