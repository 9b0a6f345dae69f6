"""What would make a recipe fit: every suggestion keeps what it promises."""

from typing import Any

import pytest

from engine.budget.forecast import Budget
from engine.budget.placement import forecast_recipe
from engine.budget.suggestions import applied, largest, suggestions
from engine.hardware.profiles import Profile, profile
from engine.recipe.schema import Recipe


def forecast(recipe: Recipe, profile: Profile) -> Budget:
    return forecast_recipe(recipe, profile).budget


def recipe(**changes: Any) -> Recipe:
    plain = {
        "model": {"path": "google/gemma-3-4b-it"},
        "data": {"sources": [{"path": "rows.jsonl"}], "max_length": 4096},
        "training": {"per_device_train_batch_size": 4, "gradient_checkpointing": False},
    }
    return applied(Recipe.model_validate(plain), changes)


def card(memory_gib: float) -> Profile:
    return Profile(
        "card", "a card", "cuda", memory_gib, 1.0, True, has_flash=True, context_gib=0.4,
        cublas_workspace_bytes=8_519_680, host_memory_gib=64.0,
    )  # fmt: skip


@pytest.mark.parametrize("memory_gib", [4.0, 8.0, 12.0, 24.0, 80.0])
def test_applied_it_has_the_forecast_it_promised(memory_gib: float) -> None:
    before = forecast(recipe(), card(memory_gib))
    offered = suggestions(forecast_recipe(recipe(), card(memory_gib)))
    assert offered
    for made in offered:
        after = forecast(applied(recipe(), made.changes), card(memory_gib))
        assert after == made.budget
        saved = before.device.expected - after.device.expected
        assert made.saves_gib == pytest.approx(saved)
        assert saved > 0


def test_what_fits_comes_first_and_the_cheapest_of_it_before() -> None:
    offered = suggestions(forecast_recipe(recipe(), card(40.0)))
    assert not forecast(recipe(), card(40.0)).fits
    fitting = [made.budget.fits for made in offered]
    assert fitting == sorted(fitting, reverse=True)
    assert offered[0].budget.fits
    assert "data.max_length" not in offered[0].changes


def test_where_no_change_is_enough_several_are_told_together() -> None:
    small = card(6.0)
    first, *rest = suggestions(forecast_recipe(recipe(), small))
    assert len(first.changes) > 1
    assert first.budget.fits
    assert not any(made.budget.fits for made in rest if "model.path" not in made.changes)


def test_together_there_is_none_too_many() -> None:
    small = card(6.0)
    first = suggestions(forecast_recipe(recipe(), small))[0]
    for key in first.changes:
        if key == "training.gradient_accumulation_steps":
            continue
        rest = {other: value for other, value in first.changes.items() if other != key}
        assert not forecast(applied(recipe(), rest), small).fits, key


def test_nothing_is_promised_where_nothing_helps() -> None:
    offered = suggestions(forecast_recipe(recipe(), card(0.5)))
    assert not any(made.budget.fits for made in offered)


def test_a_batch_gives_way_to_accumulation() -> None:
    offered = suggestions(forecast_recipe(recipe(), card(24.0)))
    made = next(m for m in offered if "training.per_device_train_batch_size" in m.changes)
    assert made.changes == {
        "training.per_device_train_batch_size": 2,
        "training.gradient_accumulation_steps": 2,
    }


def test_the_next_smaller_model_is_of_the_same_generation() -> None:
    offered = suggestions(
        forecast_recipe(recipe(**{"model.path": "google/gemma-4-31B-it"}), card(80.0))
    )
    made = next(m for m in offered if "model.path" in m.changes)
    assert made.changes == {"model.path": "google/gemma-4-26B-A4B-it"}


@pytest.mark.parametrize("memory_gib", [8.0, 24.0])
def test_the_largest_fits_and_one_more_does_not(memory_gib: float) -> None:
    chosen = recipe(**{"model.quantization": "nf4", "training.gradient_checkpointing": True})
    found = largest(forecast_recipe(chosen, card(memory_gib)))

    def fits(**changes: Any) -> bool:
        return forecast(applied(chosen, changes), card(memory_gib)).fits

    assert found.max_length % 64 == 0
    assert fits(**{"data.max_length": found.max_length})
    assert not fits(**{"data.max_length": found.max_length + 64})
    batch = found.per_device_train_batch_size
    assert fits(**{"training.per_device_train_batch_size": batch})
    assert not fits(**{"training.per_device_train_batch_size": batch + 1})


def test_a_whole_context_is_the_longest_that_is_told() -> None:
    found = largest(
        forecast_recipe(recipe(**{"model.path": "google/gemma-3-270m-it"}), card(4000.0))
    )
    assert found.max_length == 32_768


def test_no_card_is_offered_what_it_has_no_kernels_for() -> None:
    offered = suggestions(forecast_recipe(recipe(), profile("cpu")))
    keys = {key for made in offered for key in made.changes}
    assert not keys & {"model.quantization", "training.optim"}
    assert "training.gradient_checkpointing" in keys


def test_a_forecast_tells_low_expected_and_high() -> None:
    found = forecast(recipe(), card(24.0))
    for band in (found.allocated, found.reserved, found.device):
        assert 0 < band.low < band.expected < band.high
    assert found.allocated.expected < found.reserved.expected < found.device.expected
    total = sum(row.gib for row in found.rows)
    assert total == pytest.approx(found.device.expected, abs=0.01)


@pytest.mark.parametrize(
    "changes",
    [{"data.max_length": 1}, {"data.maxlength": 64}, {"model.quantization": "nf5"}, {"rows.a": 1}],
)
def test_no_change_makes_a_recipe_that_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        applied(recipe(), changes)
