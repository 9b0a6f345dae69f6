"""What follows from a choice of hardware and recipe: facts, problems, and the memory it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.budget import suggestions, throughput
from engine.budget.forecast import Budget
from engine.budget.step_shape import of_recipe
from engine.gemma import catalog
from engine.gemma.catalog import Gemma
from engine.hardware import profiles
from engine.hardware.profiles import AUTO, Profile
from engine.problems import Problem, Refusal
from engine.recipe import validate, validate_device
from engine.recipe.schema import Recipe
from workbench.recipe_editor import draft, fit_check, recipe_facts
from workbench.recipe_editor.draft import Changes, Draft
from workbench.recipe_editor.fit_check import Known
from workbench.recipe_editor.recipe_facts import Fact
from workbench.text import budget_page

_SEEKING = "Looking for what would make it fit"
_NONE_FITS = "Choose hardware with more memory, or a smaller model"


@dataclass(frozen=True, slots=True)
class RecipeAssessment:
    """All that is known of a choice so far."""

    facts: Sequence[Fact] = ()
    problems: Sequence[Problem] = ()
    recipe: Recipe | None = None
    profile: Profile | None = None
    budget: Budget | None = None
    note: str = ""
    """What is to be said of the budget, or why there is none."""
    draft: Draft | None = None
    """The recipe as it can be edited; none where its file can't be read."""

    @property
    def is_too_large(self) -> bool:
        """Whether it needs more memory than there is."""
        return self.budget is not None and not self.budget.fits

    @property
    def known(self) -> Known | None:
        """The budget for whoever starts the run."""
        if self.recipe is None or self.profile is None or self.budget is None:
            return None
        return Known(self.recipe, self.profile, self.budget)


def of_choice(
    profile_name: str, recipe_name: str, here: Profile, changes: Changes | None = None
) -> RecipeAssessment:
    """What is known of a choice in milliseconds; `here` is this machine."""
    edited = draft.read(recipe_name, changes or {})
    found = _of_names(profile_name, recipe_name, here, draft.overrides(changes or {}))
    shown = [*recipe_facts.of_changes(changes or {}), *found.facts]
    found = replace(found, facts=shown, draft=edited)
    if found.recipe is None or found.profile is None:
        return found
    return _with_memory(found, found.recipe, found.profile)


def _of_names(
    profile_name: str, recipe_name: str, here: Profile, overrides: list[str]
) -> RecipeAssessment:
    shown: list[Fact] = []
    problems: list[Problem] = []
    recipe = profile = None
    try:
        recipe, text = validate.load(recipe_name, overrides)
        shown += _facts(recipe, text)
    except Refusal as refusal:
        problems += refusal.problems
        shown += _on_paper(recipe_name, overrides)
    try:
        profile = here if profile_name == AUTO else profiles.profile(profile_name)
        shown += recipe_facts.of_profile(profile)
        profiles.runnable(profile_name)
    except Refusal as refusal:
        problems += refusal.problems
    return RecipeAssessment(shown, problems, recipe, profile)


def _facts(recipe: Recipe, text: bytes) -> list[Fact]:
    return [*recipe_facts.of_recipe(recipe, text.decode(), _shape(recipe)), ("", "", "")]


def _on_paper(recipe_name: str, overrides: list[str]) -> list[Fact]:
    """What is known of a recipe that lacks no more than its model or its rows."""
    try:
        return _facts(*validate.load(recipe_name, overrides, on_paper=True))
    except Refusal:
        return []


def _shape(recipe: Recipe) -> Gemma | None:
    try:
        return catalog.variant_of(recipe.model.path)
    except Refusal:
        return None


def _with_memory(known: RecipeAssessment, recipe: Recipe, profile: Profile) -> RecipeAssessment:
    problems = [*known.problems, *validate_device.with_profile(recipe, profile)]
    try:
        fit_check.see_weights(recipe, profile)
    except Refusal as refusal:
        problems += refusal.problems
    try:
        found = suggestions.forecast(recipe, profile)
        shape, case = catalog.variant_of(recipe.model.path), of_recipe(recipe, profile)
    except Refusal as refusal:
        return replace(known, problems=problems, note=f"not known: {refusal.problems[0].reason}")
    paced = throughput.estimate(shape, case, profile, recipe.training.gradient_accumulation_steps)
    shown = [
        *known.facts,
        *recipe_facts.of_tables(found),
        *recipe_facts.of_pace(paced, throughput.steps(recipe)),
    ]
    return _budgeted(replace(known, facts=shown, problems=problems), found, _SEEKING)


def _budgeted(known: RecipeAssessment, found: Budget, fix: str, note: str = "") -> RecipeAssessment:
    """The outcome with this budget, and the problem that goes with it where it doesn't fit."""
    others = [problem for problem in known.problems if problem.key != fit_check.MEMORY]
    assert known.profile is not None
    needs = budget_page.verdict(found)
    over = [] if found.fits else [fit_check.problem(needs, known.profile, fix)]
    return replace(known, budget=found, problems=[*others, *over], note=note)


def remedied(known: RecipeAssessment) -> RecipeAssessment:
    """The same with what would make it fit, which takes longer to find than a key press."""
    assert known.recipe is not None
    assert known.profile is not None
    assert known.budget is not None
    made = fit_check.remedy(known.recipe, known.profile, known.budget)
    fix = f"It would fit with {', '.join(budget_page.keys(made))}" if made else _NONE_FITS
    return _budgeted(known, known.budget, fix, known.note)
