"""Where a recipe's per-layer embeddings stay: on the device, or in host memory."""

from dataclasses import replace
from typing import NamedTuple

from engine.budget import forecast
from engine.budget.forecast import Budget
from engine.budget.step_shape import StepShape, of_recipe
from engine.gemma import catalog
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Model, Recipe

_VERDICTS = ("no", "tight", "fits")
"""From worst to best."""


class Placed(NamedTuple):
    """A model with the place of its tables settled, and why; no reason where it has none."""

    model: Model
    why: str


def placed(recipe: Recipe, profile: Profile) -> Placed:
    """The model as the engine loads it."""
    chosen = recipe.model.host_tables
    if chosen != "auto":
        return Placed(recipe.model, "in host memory: asked for by the recipe" if chosen else "")
    case = of_recipe(recipe, profile)
    model = recipe.model.model_copy(update={"host_tables": case.tables_on_host})
    both = _both(case, profile)
    if both is None:
        return Placed(model, "")
    here, there = (forecast.device.expected for forecast in both)
    where = "in host memory" if case.tables_on_host else "on the device"
    needs = f"{here:.1f} GiB with them on the device and {there:.1f} GiB without"
    usable = f"{both[0].usable_gib:.1f} usable"
    return Placed(model, f"{where}: the step needs {needs}, of {usable}")


def belong_on_host(case: StepShape, profile: Profile) -> bool:
    """Whether a step fits better so; else they stay on the device: nothing has to be copied there.

    One that fits is better than one that may not, and that better than one that can't.
    """
    both = _both(case, profile)
    if both is None:
        return False
    here, there = (_VERDICTS.index(forecast.verdict) for forecast in both)
    return there > here


def _both(case: StepShape, profile: Profile) -> tuple[Budget, Budget] | None:
    """Forecasts with the tables on the device and on the host; None where there are none."""
    try:
        shape = catalog.variant_of(case.model)
    except Refusal:
        return None
    if not shape.per_layer_width:
        return None
    here, there = (replace(case, tables_on_host=on_host) for on_host in (False, True))
    return forecast.forecast(shape, here, profile), forecast.forecast(shape, there, profile)
