"""Whether a recipe can fit before it is started."""

from pathlib import Path

from engine.budget import suggestions
from engine.budget.forecast import Budget
from engine.budget.placement import RecipeForecast, forecast_recipe, resolved_step
from engine.budget.safetensors_size import weights_gib
from engine.budget.step_shape import StepShape
from engine.budget.suggestions import Suggestion
from engine.gemma import towers
from engine.gemma.lora_targets import PER_LAYER_TABLE
from engine.gemma.shapes import EMBEDDED
from engine.hardware.profiles import Profile
from engine.problems import ExitCode, Problem, Refusal
from engine.recipe import validate_device
from engine.recipe.schema import Recipe
from workbench.text import budget_page

MEMORY = "memory"
"""Stands where a problem has the key that it belongs to."""


def forecast(
    recipe: Recipe,
    profile: Profile,
    *,
    anyway: bool = False,
    recipe_forecast: RecipeForecast | None = None,
) -> Budget | None:
    """What was forecast before of this recipe and profile, else anew; None for an unknown shape.

    Raises `Refusal` where the device can't compute it, and with exit code 4 where it can't fit,
    unless it is to start anyway.
    """
    if problems := validate_device.with_profile(recipe, profile):
        raise Refusal(profile.title, problems)
    if recipe_forecast is None or (recipe_forecast.recipe, recipe_forecast.profile) != (
        recipe,
        profile,
    ):
        try:
            recipe_forecast = forecast_recipe(recipe, profile)
        except Refusal:
            recipe_forecast = None
    step = recipe_forecast.step if recipe_forecast else resolved_step(recipe, profile)
    require_weights_fit(recipe, profile, step, anyway=anyway)
    if recipe_forecast is None:
        return None
    if recipe_forecast.budget.fits or anyway:
        return recipe_forecast.budget
    remedy = first_remedy(recipe_forecast)
    fix = "Take a larger device, or --anyway to start all the same"
    if remedy:
        keys = " ".join(budget_page.settings(remedy))
        fix = f"{keys} would fit; --anyway starts it all the same"
    over = problem(budget_page.summary(recipe_forecast.budget), profile, fix)
    raise Refusal(MEMORY, [over], exit_code=ExitCode.DOES_NOT_FIT)


def problem(needs: str, profile: Profile, fix: str) -> Problem:
    """That it doesn't fit, as a mistake with its remedy."""
    return Problem(MEMORY, "", f"it needs {needs} on {profile.title}", fix)


def first_remedy(forecast: RecipeForecast) -> Suggestion | None:
    """The first suggestion that saves what it is over."""
    budget = forecast.budget
    for suggestion in suggestions.suggestions(forecast):
        is_saved = budget.device.expected - suggestion.saves_gib <= budget.usable_gib
        after = suggestion.budget
        if is_saved and after.host_gib <= after.host_usable_gib:
            return suggestion
    return None


def require_weights_fit(
    recipe: Recipe, profile: Profile, step: StepShape, *, anyway: bool = False
) -> None:
    """Check what the files of a local model say, which holds for shapes that are not known too.

    Raises `Refusal` where they can't fit, and where they are no weights.
    """
    folder = Path(recipe.model.path)
    if recipe.model.path == EMBEDDED or recipe.model.quantization != "none" or not folder.is_dir():
        return
    absent = (
        *(towers.MODULES if step.is_text_only else ()),
        *((PER_LAYER_TABLE,) if step.tables_on_host else ()),
    )
    try:
        needed = weights_gib(folder, recipe.model.dtype, without=absent)
    except (OSError, ValueError) as error:
        fix = "Fetch its weights whole (with git: git lfs pull)"
        raise Refusal.of(str(folder), str(error), fix, key="model.path") from None
    if needed > profile.usable_gib and not anyway:
        reason = f"its weights alone take {needed:.2f} GiB of {profile.usable_gib:.2f} GiB usable"
        fix = "Choose a smaller model, or model.quantization = nf4"
        raise Refusal.of(
            "model.path", f"{reason} on {profile.title}", fix, exit_code=ExitCode.DOES_NOT_FIT
        )
