"""What may not be adapted is refused on paper, with the names that were meant."""

from typing import Any

import pytest

from engine.gemma import catalog, parameters
from engine.gemma.lora_targets import ATTENTION
from engine.problems import Problem
from engine.recipe import validate
from engine.recipe.schema import Recipe

DATA = {"sources": [{"path": "rows.jsonl"}]}
E2B, MIXTURE = "google/gemma-4-e2b-it", "google/gemma-4-26b-a4b-it"


def problems(model: str, quantization: str = "none", **adapter: Any) -> list[Problem]:
    chosen = {"path": model, "quantization": quantization}
    return validate.problems({"data": DATA, "model": chosen, "adapter": adapter}, on_paper=True)


@pytest.mark.parametrize(
    ("expression", "layers", "names"),
    [
        (r".*\.[qo]_proj", 35, {"q_proj", "o_proj"}),
        (r"model\.language_model\.layers\.\d\..*mlp.*", 10, {"gate_proj", "up_proj", "down_proj"}),
        (r"model\.layers\.\d\.self_attn\.v_proj", 10, {"v_proj"}),
        (r"layers\.(3|34)\.self_attn\..*", 2, set(ATTENTION)),
        (".*v_proj", 15, {"v_proj"}),
    ],
)
def test_an_expression_means_the_same_in_every_class(
    expression: str, layers: int, names: set[str]
) -> None:
    assert not problems(E2B, target_modules=expression)
    found = parameters.adapted(catalog.variant_of(E2B), expression)
    assert sum(map(bool, found)) == layers
    assert frozenset[str]().union(*found) == names


@pytest.mark.parametrize(
    ("model", "expression", "told"),
    [
        (E2B, ".*", "embed_tokens, lm_head, embed_tokens_per_layer and 1 more"),
        (MIXTURE, r".*\.\w*proj", "layers.0.router.proj, layers.1.router.proj"),
        (E2B, ".*embed_tokens.*", "embed_tokens, embed_tokens_per_layer"),
        (E2B, ".*(vision_tower|layers).*q_proj", "towers get no adapter"),
        (E2B, r"model\.layers\.35\..*", "it means nothing in gemma-4-E2B"),
        (E2B, r"layers\.20\.self_attn\.k_proj", "it means nothing in gemma-4-E2B"),
        (E2B, "q_proj", "whole names"),
        ("someone/unknown", "q_proj", "whole names"),
        (E2B, "(q_proj", "no regular expression"),
    ],
)
def test_an_expression_that_means_something_else_is_refused(
    model: str, expression: str, told: str
) -> None:
    (found,) = problems(model, target_modules=expression)
    assert (found.key, found.value) == ("adapter.target_modules", expression)
    assert told in found.reason
    assert found.fix


def test_a_list_that_the_model_has_nothing_of_is_refused() -> None:
    (found,) = problems("google/gemma-3-1b-it", target_modules=["per_layer_input_gate"])
    assert found.key == "adapter.target_modules"
    assert "down_proj" in found.fix


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        (MIXTURE, {"quantization": "nf4"}, 'model.quantization = "none"'),
        (MIXTURE, {"method": "dora"}, 'adapter.method = "lora"'),
        (MIXTURE, {"lora_dropout": 0.1}, "adapter.lora_dropout = 0"),
        (E2B, {}, "Leave it out"),
        ("someone/unknown", {"quantization": "nf4"}, 'model.quantization = "none"'),
    ],
)
def test_experts_that_can_not_be_adapted_are_refused(
    model: str, changes: dict[str, Any], told: str
) -> None:
    assert not problems(MIXTURE, target_experts=True)
    (found,) = problems(model, target_experts=True, **changes)
    assert (found.key, found.value) == ("adapter.target_experts", "true")
    assert told in found.fix


def test_targets_survive_json() -> None:
    loaded = Recipe.model_validate({"data": DATA, "adapter": {"target_modules": ".*mlp.*"}})
    assert Recipe.model_validate_json(loaded.model_dump_json()) == loaded
