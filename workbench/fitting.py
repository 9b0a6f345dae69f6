"""Whether a recipe can fit before it is started."""

from pathlib import Path

from engine import suggest
from engine.budget import Budget
from engine.hardware import Profile
from engine.recipe import EMBEDDED, Recipe
from engine.refusal import Refusal, refuse
from engine.weights import weights_gib
from workbench import budget_text

_DOES_NOT_FIT = 4


def forecast(recipe: Recipe, profile: Profile, *, anyway: bool = False) -> Budget | None:
    """The ledger's forecast, or None for a model whose shape is not known.

    Raises `Refusal` with exit code 4 where it can't fit, unless it is to start anyway.
    """
    _see_weights(recipe, profile, anyway=anyway)
    try:
        found = suggest.forecast(recipe, profile)
    except Refusal:
        return None
    if found.fits or anyway:
        return found
    offered = suggest.suggestions(recipe, profile)
    fitting = next((made for made in offered if made.budget.fits), None)
    fix = "Take a larger device, or --anyway to start all the same"
    if fitting:
        keys = " ".join(budget_text.settings(fitting))
        fix = f"{keys} would fit; --anyway starts it all the same"
    reason = f"it needs {budget_text.summary(found)} on {profile.title}"
    raise refuse("memory", reason, fix, exit_code=_DOES_NOT_FIT)


def _see_weights(recipe: Recipe, profile: Profile, *, anyway: bool) -> None:
    """What the files of a local model say, which holds for shapes that are not known too."""
    folder = Path(recipe.model.path)
    if recipe.model.path == EMBEDDED or recipe.model.quantization != "none" or not folder.is_dir():
        return
    try:
        needed = weights_gib(folder, recipe.model.dtype)
    except (OSError, ValueError) as error:
        fix = "Fetch its weights whole (with git: git lfs pull)"
        raise refuse(str(folder), str(error), fix, key="model.path") from None
    if needed > profile.usable_gib and not anyway:
        reason = f"its weights alone take {needed:.2f} GiB of {profile.usable_gib:.2f} GiB usable"
        fix = "Choose a smaller model, or model.quantization = nf4"
        raise refuse("model.path", f"{reason} on {profile.title}", fix, exit_code=_DOES_NOT_FIT)
