"""Adapters sit on the language model's projections, all of them, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer

from engine.gemma.lora_targets import ATTENTION, MLP
from engine.model import lora
from engine.recipe.schema import Adapter
from tests import tiny
from tests.conftest import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_the_modules_named_before_the_run_are_those_adapted(
    kind: str, gemma_folder: Callable[[str], Path]
) -> None:
    model = tiny.loaded(gemma_folder(kind), has_towers=True).model
    named = lora.target_modules(model, ATTENTION + MLP)
    adapted = lora.attach(model, Adapter(r=2, lora_alpha=4), 0)
    found = [
        name.removeprefix("base_model.model.")
        for name, module in adapted.named_modules()
        if isinstance(module, LoraLayer)
    ]
    assert named == found
    assert not any("tower" in name or "embed" in name or "router" in name for name in named)
    layers = {name.split("layers.")[1].split(".")[0] for name in named}
    assert len(layers) == model.config.get_text_config().num_hidden_layers


def test_layers_that_share_keys_and_values_have_no_projection_for_them(
    gemma_folder: Callable[[str], Path],
) -> None:
    model = tiny.loaded(gemma_folder("embedded")).model
    config = model.config.get_text_config()
    keys = lora.target_modules(model, ("k_proj",))
    assert len(keys) == config.num_hidden_layers - config.num_kv_shared_layers


def test_a_projection_the_model_lacks_is_refused(gemma_folder: Callable[[str], Path]) -> None:
    model = tiny.loaded(gemma_folder("gemma3")).model
    with pytest.raises(ValueError, match="per_layer_input_gate"):
        lora.target_modules(model, ("per_layer_input_gate",))


@pytest.mark.parametrize("kind", KINDS)
def test_four_bit_base_keeps_router_towers_and_adapter_whole(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    gemma = tiny.loaded(gemma_folder(kind), quantization="nf4", has_towers=True)
    quantised = [
        name for name, module in gemma.model.named_modules() if "4bit" in type(module).__name__
    ]
    assert quantised
    assert not any("router" in name or "tower" in name for name in quantised)
    kept = tiny.Gradients()
    trainer = tiny.trainer(gemma, kept, max_steps=2)
    trainer.train()
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    assert len(kept.losses) == 2
