"""The budget decides where per-layer embeddings stay, and says why."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.budget import forecast as budget
from engine.budget.forecast import Budget
from engine.budget.placement import forecast_recipe, placed_model, resolved_step
from engine.budget.safetensors_size import weights_gib
from engine.budget.step_shape import StepShape
from engine.budget.suggestions import applied, suggestions
from engine.gemma import catalog
from engine.gemma.lora_targets import PER_LAYER_TABLE
from engine.hardware.profiles import Profile, profile
from engine.problems import Problem, Refusal
from engine.recipe import validate
from engine.recipe.schema import Recipe
from workbench.recipe_editor import fit_check
from workbench.text import budget_page

TABLE_GIB = 4.375
E2B, E4B = "google/gemma-4-E2B-it", "google/gemma-4-E4B-it"


def forecast(recipe: Recipe, profile: Profile) -> Budget:
    return forecast_recipe(recipe, profile).budget


def recipe(path: str = E2B, **changes: Any) -> Recipe:
    plain = {
        "model": {"path": path, "quantization": "nf4", "dtype": "bfloat16"},
        "data": {"sources": [{"path": "rows.jsonl"}], "max_length": 1024},
        "training": {"per_device_train_batch_size": 1, "optim": "adamw_8bit"},
    }
    return applied(Recipe.model_validate(plain), changes)


def card(memory_gib: float, host_gib: float = 64.0, **more: Any) -> Profile:
    return Profile(
        "card", "a card", "cuda", memory_gib, 1.0, True, has_flash=True, context_gib=0.4,
        cublas_workspace_bytes=8_519_680, host_memory_gib=host_gib, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("memory_gib", "is_on_host"), [(24.0, False), (6.0, True), (4.0, True), (2.0, False)]
)
def test_auto_goes_to_the_host_where_only_that_fits(memory_gib: float, is_on_host: bool) -> None:
    chosen = card(memory_gib)
    assert resolved_step(recipe(), chosen).tables_on_host is is_on_host
    model, why = placed_model(recipe(), chosen)
    assert model.host_tables is is_on_host
    needs = [
        forecast(recipe(**{"model.host_tables": on_host}), chosen).device.expected
        for on_host in (False, True)
    ]
    assert needs[0] - needs[1] == pytest.approx(TABLE_GIB, abs=0.002)
    where = "in host memory" if is_on_host else "on the device"
    assert why.startswith(where)
    assert f"{needs[0]:.1f} GiB with them" in why
    assert f"{needs[1]:.1f} GiB without, of {memory_gib:.1f} usable" in why


def test_auto_goes_to_the_host_where_it_would_be_tight() -> None:
    here = forecast(recipe(**{"model.host_tables": False}), card(24.0)).device
    assert here.expected < here.high
    tight, roomy = card(here.expected), card(here.high + 0.001)
    assert resolved_step(recipe(), tight).tables_on_host
    assert not resolved_step(recipe(), roomy).tables_on_host


def test_auto_stays_where_the_host_is_full() -> None:
    assert not resolved_step(recipe(), card(6.0, host_gib=4.0)).tables_on_host


@pytest.mark.parametrize("asked", [True, False])
def test_what_the_recipe_says_is_done(asked: bool) -> None:
    for memory_gib in (24.0, 6.0):
        chosen = recipe(**{"model.host_tables": asked})
        assert resolved_step(chosen, card(memory_gib)).tables_on_host is asked
        assert placed_model(chosen, card(memory_gib)).model.host_tables is asked


@pytest.mark.parametrize("path", ["google/gemma-3-4b-it", "google/gemma-4-31B-it", "who/knows"])
def test_models_without_tables_have_nothing_to_place(path: str) -> None:
    model, why = placed_model(recipe(path), card(1.0))
    assert (model.host_tables, why) == (False, "")


def test_mapped_pages_are_not_counted_where_device_and_host_are_one() -> None:
    for one in (profile("cpu"), card(64.0, is_unified=True)):
        here, there = (
            forecast(recipe(**{"model.host_tables": on_host}), one) for on_host in (False, True)
        )
        assert here.host_gib - there.host_gib == pytest.approx(TABLE_GIB, abs=0.002)
    here, there = (
        forecast(recipe(**{"model.host_tables": on_host}), card(24.0)) for on_host in (False, True)
    )
    assert there.host_gib - here.host_gib == pytest.approx(TABLE_GIB, abs=0.002)


@pytest.mark.parametrize(("path", "most_gib"), [(E2B, 2.6), (E4B, 4.4)])
def test_four_bit_steps_of_the_small_ones_are_small(path: str, most_gib: float) -> None:
    """At one row of 1,024 tokens."""
    shape = catalog.variant_of(path)
    case = resolved_step(recipe(path, **{"model.host_tables": True}), card(8.0))
    assert budget.forecast(shape, case, card(8.0)).allocated.high <= most_gib
    on_device = replace(case, tables_on_host=False)
    assert budget.forecast(shape, on_device, card(8.0)).allocated.low > most_gib


def test_a_kept_walk_is_the_step_itself() -> None:
    shape, one = (
        catalog.variant_of("gemma-4-E2B"),
        StepShape(model="gemma-4-E2B", tables_on_host=True),
    )
    first = budget.forecast(shape, one, card(8.0))
    other = budget.forecast(shape, replace(one, length=1024), card(8.0))
    assert other.device.expected > first.device.expected
    assert budget.forecast(shape, one, card(8.0)) == first


def test_the_suggestion_can_be_typed(tmp_path: Path) -> None:
    before = recipe(**{"model.host_tables": False})
    small = card(6.0)
    made = next(
        m
        for m in suggestions(forecast_recipe(before, small))
        if m.changes == {"model.host_tables": True}
    )
    assert made.saves_gib == pytest.approx(TABLE_GIB, abs=0.002)
    assert made.budget.fits
    (typed,) = budget_page.settings(made)
    assert typed == "--set model.host_tables=true"
    file = tmp_path / "mine.toml"
    file.write_text(
        f'[model]\npath = "{E2B}"\nhost_tables = false\n[data]\nsources = [{{ id = "a/b" }}]\n'
    )
    read, _ = validate.load(str(file), [typed.removeprefix("--set ")], on_paper=True)
    assert read.model.host_tables is True
    assert not any(
        "model.host_tables" in m.changes for m in suggestions(forecast_recipe(read, small))
    )


def test_nothing_is_suggested_that_auto_does_already() -> None:
    for memory_gib in (6.0, 3.0):
        offered = suggestions(forecast_recipe(recipe(), card(memory_gib)))
        on_host = resolved_step(recipe(), card(memory_gib)).tables_on_host
        assert any("model.host_tables" in made.changes for made in offered) is not on_host
    offered = suggestions(forecast_recipe(recipe("google/gemma-3-4b-it"), card(6.0)))
    assert not any("model.host_tables" in made.changes for made in offered)


@pytest.mark.parametrize("on_paper", [False, True])
def test_asked_for_where_there_are_none(on_paper: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def problems(path: str, host_tables: Any) -> list[Problem]:
        sources = {"sources": [{"id": "a/b"}]}
        document = {"model": {"path": path, "host_tables": host_tables}, "data": sources}
        return validate.problems(document, on_paper=on_paper)

    (problem,) = problems("google/gemma-3-1b-it", True)
    assert (problem.key, problem.value) == ("model.host_tables", "true")
    assert "no per-layer embeddings" in problem.reason
    (problem,) = problems("embedded", "yes")
    assert problem.reason.endswith("'auto', true or false")
    assert problems("embedded", True) == problems("embedded", False) == []


def test_weights_on_disk_are_counted_without_what_stays_on_the_host(tmp_path: Path) -> None:
    shapes = {"model.embed_tokens_per_layer.weight": [1 << 20, 4096], "norm.weight": [1 << 29]}
    told = {
        name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    header = json.dumps(told).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    (tmp_path / "config.json").write_text("{}")
    assert weights_gib(tmp_path, "auto") == 9.0
    assert weights_gib(tmp_path, "auto", without=(PER_LAYER_TABLE,)) == 1.0
    assert weights_gib(tmp_path, "auto", without=(PER_LAYER_TABLE, "norm")) == 0.0
    on_host = recipe(str(tmp_path), **{"model.quantization": "none", "model.host_tables": True})
    small, here = card(4.0), applied(on_host, {"model.host_tables": "auto"})
    fit_check.require_weights_fit(on_host, small, resolved_step(on_host, small))
    with pytest.raises(Refusal, match=r"9\.00 GiB"):
        fit_check.require_weights_fit(here, small, resolved_step(here, small))
