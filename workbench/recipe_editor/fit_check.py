"""Whether a recipe can fit before it is started."""

from dataclasses import dataclass
from pathlib import Path

from engine.budget import suggestions
from engine.budget.forecast import Budget
from engine.budget.safetensors_size import TABLE, weights_gib
from engine.budget.step_shape import of_recipe
from engine.budget.suggestions import Suggestion
from engine.gemma import towers
from engine.hardware.profiles import Profile
from engine.problems import ExitCode, Problem, Refusal
from engine.recipe import validate_device
from engine.recipe.schema import EMBEDDED, Recipe
from workbench.text import budget_page

MEMORY = "memory"
"""Stands where a problem has the key that it belongs to."""


@dataclass(frozen=True, slots=True)
class Known:
    """A budget that was made before, and what it holds for."""

    recipe: Recipe
    profile: Profile
    budget: Budget


def forecast(
    recipe: Recipe, profile: Profile, *, anyway: bool = False, known: Known | None = None
) -> Budget | None:
    """What is known of it, else the ledger's forecast; None for a model of unknown shape.

    Raises `Refusal` where the device can't compute it, and with exit code 4 where it can't fit,
    unless it is to start anyway.
    """
    see_device(recipe, profile)
    see_weights(recipe, profile, anyway=anyway)
    try:
        is_known = known is not None and (known.recipe, known.profile) == (recipe, profile)
        found = known.budget if known and is_known else suggestions.forecast(recipe, profile)
    except Refusal:
        return None
    if found.fits or anyway:
        return found
    made = remedy(recipe, profile, found)
    fix = "Take a larger device, or --anyway to start all the same"
    if made:
        keys = " ".join(budget_page.settings(made))
        fix = f"{keys} would fit; --anyway starts it all the same"
    told = problem(budget_page.summary(found), profile, fix)
    raise Refusal(MEMORY, [told], exit_code=ExitCode.DOES_NOT_FIT)


def problem(needs: str, profile: Profile, fix: str) -> Problem:
    """That it doesn't fit, as a mistake with its remedy."""
    return Problem(MEMORY, "", f"it needs {needs} on {profile.title}", fix)


def remedy(recipe: Recipe, profile: Profile, found: Budget) -> Suggestion | None:
    """The first suggestion that saves what it is over."""
    for made in suggestions.suggestions(recipe, profile):
        is_saved = found.device.expected - made.saves_gib <= found.usable_gib
        if is_saved and made.budget.host_gib <= made.budget.host_usable_gib:
            return made
    return None


def see_device(recipe: Recipe, profile: Profile) -> None:
    """Raises `Refusal` where the device has no kernels for what the recipe asks for."""
    if found := validate_device.with_profile(recipe, profile):
        raise Refusal(profile.title, found)


def see_weights(recipe: Recipe, profile: Profile, *, anyway: bool = False) -> None:
    """What the files of a local model say, which holds for shapes that are not known too.

    Raises `Refusal` where they can't fit, and where they are no weights.
    """
    folder = Path(recipe.model.path)
    if recipe.model.path == EMBEDDED or recipe.model.quantization != "none" or not folder.is_dir():
        return
    try:
        case = of_recipe(recipe, profile)
        absent = (
            *(towers.MODULES if case.is_text_only else ()),
            *((TABLE,) if case.tables_on_host else ()),
        )
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
