"""A recipe's step on a device, with the place of its per-layer embeddings settled."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.budget import step_shape
from engine.budget.forecast import Budget, Verdict, forecast
from engine.budget.step_shape import StepShape
from engine.gemma import catalog
from engine.gemma.shapes import Gemma
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe import image_rows
from engine.recipe.schema import Model, Recipe


@dataclass(frozen=True, slots=True)
class RecipeForecast:
    """A recipe on a profile with all that follows for memory: worked out once, then handed on."""

    recipe: Recipe
    profile: Profile
    gemma: Gemma
    step: StepShape
    budget: Budget


class PlacedModel(NamedTuple):
    """A model whose tables have their place, and why; no reason where it has none."""

    model: Model
    why: str


def forecast_recipe(
    recipe: Recipe, profile: Profile, *, images: int | None = None
) -> RecipeForecast:
    """The ledger's forecast of a recipe; `images` as for `resolved_step`.

    Raises `Refusal` where the shape of its model is not known.
    """
    gemma = catalog.variant_of(recipe.model.path)
    step = resolved_step(recipe, profile, images=images)
    return RecipeForecast(recipe, profile, gemma, step, forecast(gemma, step, profile))


def resolved_step(recipe: Recipe, profile: Profile, *, images: int | None = None) -> StepShape:
    """The step of a recipe's longest micro-batch, as it will be run.

    `images` are those of each row; None has them counted at the heads of the recipe's files, which
    is the one thing here that reads the disk. Callers ask once and hand the step on.
    """
    if images is None:
        images = image_rows.most_images(recipe.data)
    is_on_host = recipe.model.host_tables
    step = step_shape.from_recipe(recipe, profile, images=images, tables_on_host=is_on_host is True)
    if is_on_host == "auto" and _belong_on_host(step, profile):
        return replace(step, tables_on_host=True)
    return step


def placed_model(recipe: Recipe, profile: Profile) -> PlacedModel:
    """The model as the engine loads it."""
    is_on_host = recipe.model.host_tables
    if is_on_host != "auto":
        return PlacedModel(
            recipe.model, "in host memory: asked for by the recipe" if is_on_host else ""
        )
    step = resolved_step(recipe, profile)
    model = recipe.model.model_copy(update={"host_tables": step.tables_on_host})
    budgets = _here_and_there(step, profile)
    if budgets is None:
        return PlacedModel(model, "")
    here, there = (budget.device.expected for budget in budgets)
    where = "in host memory" if step.tables_on_host else "on the device"
    needs = f"{here:.1f} GiB with them on the device and {there:.1f} GiB without"
    return PlacedModel(
        model, f"{where}: the step needs {needs}, of {profile.usable_gib:.1f} usable"
    )


def _belong_on_host(step: StepShape, profile: Profile) -> bool:
    """Whether a step fits better so; else they stay on the device: nothing has to be copied there.

    One that fits is better than one that may not, and that better than one that can't.
    """
    budgets = _here_and_there(step, profile)
    if budgets is None:
        return False
    here, there = ([*Verdict].index(budget.verdict) for budget in budgets)
    return there > here


def _here_and_there(step: StepShape, profile: Profile) -> tuple[Budget, Budget] | None:
    """Forecasts with the tables on the device and on the host; None where there are none."""
    try:
        gemma = catalog.variant_of(step.model)
    except Refusal:
        return None
    if not gemma.per_layer_width:
        return None
    here, there = (replace(step, tables_on_host=is_on_host) for is_on_host in (False, True))
    return forecast(gemma, here, profile), forecast(gemma, there, profile)
