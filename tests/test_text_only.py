"""Text alone is trained without towers, on the checkpoint's weights and under their names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
)

from engine.model import lora, siblings, text_only
from engine.recipe import Adapter
from tests import tiny


def gemma3(folder: Path) -> Path:
    """A Gemma 3 with eyes."""
    tokenizer = siblings.gemma3_tokenizer()
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 1, "query_pre_attn_scalar": 16}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config={**siblings.TEXT, **text}, vision_config=vision, mm_tokens_per_image=4
    )
    model = Gemma3ForConditionalGeneration(config)
    return siblings.saved(model, tokenizer, folder, stops=[1, 106])


def unified(folder: Path) -> Path:
    """A Gemma 4 that projects pixels and sound without an encoder."""
    tokenizer = siblings.AutoTokenizer.from_pretrained(siblings.EMBEDDED)
    text = {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "global_head_dim": 32}
    config = Gemma4UnifiedConfig(
        text_config={**siblings.TEXT, **text},
        vision_config={"mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 32},
        audio_config={"audio_embed_dim": 32},
    )
    model = Gemma4UnifiedForConditionalGeneration(config)
    return siblings.saved(model, tokenizer, folder)


MADE: dict[str, Callable[[Path], Path]] = {
    "gemma3": gemma3,
    "gemma4": siblings.build_gemma4_multimodal,
    "unified": unified,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MADE.items()}


@pytest.mark.parametrize("name", MADE)
def test_the_model_is_the_same_but_for_its_towers(name: str, folders: dict[str, Path]) -> None:
    whole = tiny.loaded(folders[name], has_towers=True).model
    loaded = tiny.loaded(folders[name])
    bare = loaded.model
    assert loaded.reasons["towers"] == "left out: no row holds an image"
    assert text_only.towers(whole)
    assert not text_only.towers(bare)
    assert type(bare) is type(whole)
    weights = dict(whole.named_parameters())
    left = {key for key in weights if any(f".{tower}." in f".{key}" for tower in text_only.MODULES)}
    assert left
    kept = dict(bare.named_parameters())
    assert kept.keys() == weights.keys() - left
    assert all(torch.equal(weights[key], kept[key]) for key in kept)
    ids = torch.tensor([[2, 105, 400, 500, 600]])
    assert torch.equal(whole(ids).logits, bare(ids).logits)


@pytest.mark.parametrize("name", MADE)
def test_its_adapter_has_the_names_of_the_whole_model(name: str, folders: dict[str, Path]) -> None:
    adapted = [
        lora.attach(tiny.loaded(folders[name], has_towers=towers).model, Adapter(r=2), 0)
        for towers in (True, False)
    ]
    whole, bare = ({key for key, p in one.named_parameters() if p.requires_grad} for one in adapted)
    assert whole == bare


@pytest.mark.parametrize("name", MADE)
def test_a_weight_that_is_missing_is_an_error(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    lost = _without(folders[name], tmp_path, lambda key: key.endswith("1.mlp.up_proj.weight"))
    with pytest.raises(ValueError, match=r"lacks 1 weights: .*layers.1.mlp.up_proj.weight"):
        tiny.loaded(lost)


def test_a_checkpoint_of_text_alone_is_enough_for_text(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    text = _without(
        folders["gemma3"], tmp_path, lambda key: "vision_tower" in key or "projector" in key
    )
    assert tiny.loaded(text).model is not None
    with pytest.raises(ValueError, match=r"lacks \d+ weights"):
        tiny.loaded(text, has_towers=True)


@pytest.mark.parametrize("name", MADE)
def test_it_trains(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    kept = tiny.Gradients()
    gemma = tiny.loaded(folders[name], quantization="nf4")
    tiny.trainer(gemma, tmp_path, kept, max_steps=2, gradient_checkpointing=True).train()
    assert len(kept.losses) == 2
    assert all(gradient.abs().sum() > 0 for gradient in kept.gradients.values())


def _without(folder: Path, made: Path, is_lost: Callable[[str], bool]) -> Path:
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    assert any(map(is_lost, weights))
    for file in folder.iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    left = {key: tensor for key, tensor in weights.items() if not is_lost(key)}
    save_file(left, made / "model.safetensors", metadata={"format": "pt"})
    assert json.loads((made / "config.json").read_bytes())
    return made
