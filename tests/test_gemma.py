"""Facts of every Gemma against transformers' own classes and the published counts."""

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from engine.gemma import catalog, parameters
from engine.gemma.config import dialect_of
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.gemma.shapes import Dialect
from engine.model.lora import configuration
from engine.problems import Refusal
from engine.recipe.schema import Adapter

PUBLISHED = {
    "gemma-3-270m": (268_098_176, 268_098_176),
    "gemma-3-1b": (999_885_952, 999_885_952),
    "gemma-3-4b": (3_880_263_168, 4_300_079_472),
    "gemma-3-12b": (11_766_034_176, 12_187_325_040),
    "gemma-3-27b": (27_009_346_304, 27_432_406_640),
    "gemma-4-E2B": (4_628_569_344, 5_104_297_504),
    "gemma-4-E4B": (7_463_013_376, 7_941_100_832),
    "gemma-4-26B-A4B": (25_233_141_760, 25_805_933_872),
    "gemma-4-31B": (30_697_345_280, 31_273_086_512),
}
"""Parameters of the language model and of the whole, as logs of published runs state them."""
EVERY = pytest.mark.parametrize("name", catalog.names())


def on_meta(config: dict[str, Any]) -> Any:
    """The class that the engine would load, without storage."""
    given = dict(config)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(given.pop("model_type"), **given)
        )


@cache
def known(name: str) -> Any:
    """A known variant's class without storage."""
    return on_meta(catalog.config_of(name))


def test_every_variant_is_known() -> None:
    assert set(PUBLISHED) | {"gemma-4-12B"} == set(catalog.names())


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.items())
def test_counts_are_the_published_ones(name: str, counts: tuple[int, int]) -> None:
    found = catalog.variant_of(name)
    assert parameters.text(found) == counts[0]
    assert parameters.text(found) + parameters.towers(found) == counts[1]


def test_the_unified_12b_has_its_published_size() -> None:
    found = catalog.variant_of("gemma-4-12B")
    total = parameters.text(found) + parameters.towers(found)
    assert total == pytest.approx(11.95e9, rel=1e-3)


@EVERY
def test_facts_are_those_of_transformers(name: str) -> None:
    found, model = catalog.variant_of(name), known(name)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert parameters.text(found) + parameters.towers(found) == total
    assert found.is_text_only == (not hasattr(model.config, "text_config"))
    text = model.config.get_text_config()
    assert (found.sliding_window, found.heads) == (text.sliding_window, text.num_attention_heads)
    assert found.final_softcap == text.final_logit_softcapping
    kinds = [f"{layer.attention}_attention" for layer in found.layers]
    assert kinds == text.layer_types


LORA = {
    "gemma-3-270m": 3_796_992,
    "gemma-3-1b": 13_045_760,
    "gemma-3-4b": 29_802_496,
    "gemma-3-12b": 65_470_464,
    "gemma-3-27b": 113_516_544,
    "gemma-4-E2B": 24_158_208,
    "gemma-4-E4B": 34_881_536,
    "gemma-4-31B": 122_429_440,
    "gemma-4-26B-A4B": 18_585_600,
}
"""Trained parameters with rank 16 on all projections of attention and MLP; r = 8 of 26B-A4B, and
r = 16 of E2B, are those that published runs state."""
ADAPTERS = {
    "all": Adapter(),
    "dora": Adapter(method="dora", r=3),
    "expression": Adapter(target_modules=r".*layers\.\d\.(self_attn\.[qv]|mlp\.down)_proj"),
}


def trained(model: Any, adapter: Adapter) -> int:
    """What PEFT trains; the model is as it was afterwards."""
    adapted = get_peft_model(model, configuration(model, adapter), low_cpu_mem_usage=True)
    count: int = adapted.get_nb_trainable_parameters()[0]
    adapted.unload()
    return count


@pytest.mark.parametrize(
    ("name", "others"), [*zip(catalog.names(), itertools.cycle(("dora", "expression")))]
)
def test_an_adapter_has_as_many_parameters_as_peft_gives_it(name: str, others: str) -> None:
    found, model = catalog.variant_of(name), known(name)
    for adapter in (ADAPTERS["all"], ADAPTERS[others]):
        counted = parameters.lora(
            found, adapter.target_modules, adapter.r, is_dora=adapter.method == "dora"
        )
        assert trained(model, adapter) == counted
    if name in LORA:
        assert parameters.lora(found, ATTENTION + MLP, 16) == LORA[name]


def test_an_adapter_of_experts_has_as_many_parameters_as_peft_gives_it() -> None:
    """Attention alone has 11,489,280, as the makers of a published adapter state."""
    found = catalog.variant_of("gemma-4-26B-A4B")
    model = known("gemma-4-26B-A4B")
    attention = parameters.lora(found, ATTENTION, 16)
    assert attention == 11_489_280
    assert trained(model, Adapter(target_modules=ATTENTION)) == attention
    both = parameters.lora(found, ATTENTION, 16, adapts_experts=True)
    assert both - attention == 29_736_960 * 16
    assert trained(model, Adapter(target_modules=ATTENTION, target_experts=True)) == both


def test_layers_of_e2b() -> None:
    layers = catalog.variant_of("gemma-4-E2B").layers
    assert [place for place, layer in enumerate(layers) if layer.sharing == "store"] == [13, 14]
    assert all(layer.sharing == "reuse" for layer in layers[15:])
    assert {layer.intermediate_size for layer in layers[:15]} == {6144}
    assert {layer.intermediate_size for layer in layers[15:]} == {12288}
    assert {(layer.attention, layer.head_width) for layer in layers} == {
        ("sliding", 256), ("full", 512),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("google/gemma-3-1b-it", "gemma-3-1b"), ("google/gemma-3-1b-pt", "gemma-3-1b"),
        ("gemma-4-e2b", "gemma-4-E2B"), ("google/gemma-4-26B-A4B", "gemma-4-26B-A4B"),
        ("unsloth/gemma-3-27b-it", "gemma-3-27b"),
    ],
)  # fmt: skip
def test_a_hub_id_means_its_variant(model: str, name: str) -> None:
    assert catalog.variant_of(model).name == name


DIALECTS = {
    "gemma-3-270m": "gemma3", "gemma-3-1b": "gemma3", "gemma-3-4b": "gemma3",
    "gemma-3-12b": "gemma3", "gemma-3-27b": "gemma3",
    "gemma-4-E2B": "gemma4", "gemma-4-E4B": "gemma4",
    "gemma-4-12B": "gemma4-large", "gemma-4-26B-A4B": "gemma4-large",
    "gemma-4-31B": "gemma4-large",
}  # fmt: skip


@EVERY
def test_a_variant_has_one_dialect_by_name_from_disk_and_by_its_class(
    name: str, tmp_path: Path
) -> None:
    assert DIALECTS.keys() == set(catalog.names())
    assert catalog.variant_of(name).dialect == Dialect(DIALECTS[name])
    (tmp_path / "config.json").write_text(json.dumps(catalog.config_of(name)))
    assert catalog.variant_of(str(tmp_path)).dialect == Dialect(DIALECTS[name])
    assert dialect_of(known(name).config.to_dict()) == Dialect(DIALECTS[name])
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert dialect_of(json.loads((tmp_path / "config.json").read_bytes())) == DIALECTS[name]


@pytest.mark.parametrize("config", [{}, {"model_type": "llama"}, {"model_type": "gemma2"}])
def test_no_dialect_is_guessed(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="neither Gemma 3 nor Gemma 4"):
        dialect_of(config)


@pytest.mark.parametrize("kind", ["embedded", "gemma3", "gemma4_moe", "gemma4_multimodal"])
def test_a_local_folder_is_read(kind: str, gemma_folder: Any) -> None:
    folder = gemma_folder(kind)
    found = catalog.variant_of(str(folder))
    model = on_meta(json.loads((folder / "config.json").read_bytes()))
    total = sum(parameter.numel() for parameter in model.parameters())
    assert parameters.text(found) + parameters.towers(found) == total
    assert found.name == folder.name


def test_the_embedded_gemma_is_known() -> None:
    found = catalog.variant_of("embedded")
    assert (found.name, found.dialect, found.per_layer_width) == ("embedded", "gemma4", 64)


@pytest.mark.parametrize("text", ["{}", "[]", '{"model_type": "llama"}', "no json", "{"])
def test_a_folder_that_is_no_gemma_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Refusal, match="describes no Gemma"):
        catalog.variant_of(str(tmp_path))


def test_an_unknown_model_is_refused_with_the_list() -> None:
    with pytest.raises(Refusal, match="gemma-4-31B"):
        catalog.variant_of("google/gemma-9-1b")
