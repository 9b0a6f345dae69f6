"""What the setup says of a recipe in figures: its adapter, its sources, its time."""

from pathlib import Path
from typing import Any

import pytest

from engine.budget import throughput
from engine.budget.placement import resolved_step
from engine.gemma import catalog
from engine.hardware import profiles
from engine.recipe import validate
from engine.recipe.schema import Recipe
from workbench.recipe_editor import recipe_facts
from workbench.text import format

E2B = "gemma4-e2b-lora-sft-korean"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(*overrides: str) -> Recipe:
    return validate.load(E2B, list(overrides), on_paper=True)[0]


def lines(recipe: Recipe, name: str, model: str = "google/gemma-4-e2b-it") -> list[str]:
    """The lines of a fact, down to the next that has a name."""
    told = recipe_facts.of_recipe(recipe, "", catalog.variant_of(model))
    first = next(at for at, fact in enumerate(told) if fact[0] == name)
    rest = [fact[1] for fact in told[first + 1 :]]
    end = next(at for at, fact in enumerate(told[first + 1 :]) if fact[0])
    return [told[first][1], *rest[:end]]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "on 7 projections in 35 layers, 24,158,208 trained parameters"),
        (["adapter.r=8"], "on 7 projections in 35 layers, 12,079,104 trained parameters"),
        (
            ['adapter.target_modules=["k_proj"]'],
            "on 1 projection in 15 layers, 442,368 trained parameters",
        ),
        (
            ["adapter.target_modules=.*layers.34.mlp.*"],
            "on 3 projections in 1 layer, 663,552 trained parameters",
        ),
        (["adapter.method=dora"], "on 7 projections in 35 layers, 25,036,800 trained parameters"),
    ],
)
def test_what_lora_will_touch(overrides: list[str], told: str) -> None:
    """Layers that reuse keys of another have no projection of their own for them."""
    assert lines(loaded(*overrides), "adapter")[1].startswith(told)


def test_what_lora_will_touch_in_a_mixture() -> None:
    model = "google/gemma-4-26b-a4b-it"
    chosen = [f"model.path={model}", "adapter.target_experts=true", "adapter.lora_dropout=0.0"]
    told = lines(
        loaded(*chosen, "model.host_tables=auto", "adapter.use_rslora=true"), "adapter", model
    )
    assert told[0] == "lora, r 16, lora_alpha 32, rank-stabilised"
    assert told[1].startswith("on 7 projections and 128 experts in 30 layers, 494,376,960 trained")


def sources(*given: dict[str, Any]) -> list[str]:
    document = loaded().model_dump()
    document["data"]["sources"] = given
    return lines(Recipe.model_validate(document), "data")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"path": "{here}/rows.jsonl"}, "rows.jsonl"),
        ({"path": "{here}/in/rows.jsonl"}, "rows.jsonl in in/"),
        ({"path": "/far/rows.jsonl", "weight": 2.0}, "rows.jsonl in /far/, weight 2"),
        ({"path": "/far/*.csv", "name": "facts", "rows": 1500}, "facts: /far/*.csv, 1,500 rows"),
        ({"id": "own/er", "rows": 0.25, "weight": 0.5}, "own/er, 25.0 % of the rows, weight 0.5"),
        ({"id": "own/er", "name": "set"}, "set: own/er"),
    ],
)
def test_a_source_is_told_by_name_place_and_weight(source: dict[str, Any], told: str) -> None:
    found = (
        source | {"path": source["path"].format(here=Path.cwd())} if "path" in source else source
    )
    assert sources(found) == [told, "at most 512 tokens a row, loss on assistant"]


def test_several_sources_have_a_line_each() -> None:
    told = sources({"path": "/a/b.csv"}, {"id": "c/d"})
    assert (told[0], told[2:]) == ("2 sources", ["b.csv in /a/", "c/d"])


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], 1691),
        (["training.num_train_epochs=2.5"], 4228),
        (["training.max_steps=7"], 7),
        (["training.gradient_accumulation_steps=1"], 13_521),
        (["data.packing=true"], None),
        (['data.sources=[{ id = "a/b" }]'], None),
        (['data.sources=[{ id = "a/b", rows = 0.5 }]'], None),
        (['data.sources=[{ id = "a/b", rows = 10, weight = 2.0 }]'], 3),
    ],
)
def test_steps_are_told_where_the_recipe_has_them(overrides: list[str], steps: int | None) -> None:
    assert throughput.steps(loaded(*overrides)) == steps


def test_the_time_of_all_steps_is_told() -> None:
    recipe, card = loaded(), profiles.profile("rtx-4090")
    shape = catalog.variant_of(recipe.model.path)
    paced = throughput.estimate(shape, resolved_step(recipe, card), card, 8)
    assert paced is not None
    one = f"about {format.span(paced.step_s)} a step, guessed to a factor of two"
    assert recipe_facts.of_pace(paced, None) == [("time", one, "dim")]
    whole, step = recipe_facts.of_pace(paced, 1691)
    assert whole[:2] == ("time", f"1,691 steps, about {format.span(paced.step_s * 1691)}")
    assert step == ("", one, "dim")
    assert recipe_facts.of_pace(None, 7) == []
