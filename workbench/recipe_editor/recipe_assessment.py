"""What follows from a choice of hardware and recipe: facts, problems, and the memory it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.budget import throughput
from engine.budget.placement import RecipeForecast, forecast_recipe, resolved_step
from engine.gemma import catalog
from engine.gemma.gguf import model as gguf_model
from engine.gemma.shapes import Gemma
from engine.hardware import profiles
from engine.hardware.profiles import AUTO, Profile
from engine.problems import Problem, Refusal
from engine.recipe import validate, validate_device
from engine.recipe.schema import Recipe
from workbench.recipe_editor import draft, fit_check, foresight, recipe_facts
from workbench.recipe_editor.draft import Changes, Draft
from workbench.text import budget_page
from workbench.text.layouts import Fact

_SEEKING = "Looking for what would make it fit"
_NONE_FITS = "Choose hardware with more memory, or a smaller model"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Assessment:
    facts: Sequence[Fact]
    problems: Sequence[Problem]
    draft: Draft | None
    """The recipe as it can be edited; none where its file can't be read."""
    notes: Sequence[Problem] = ()
    """What will disappoint, though nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid(_Assessment):
    """A recipe or a profile that is none."""

    recipe: Recipe | None
    """None where that is what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbudgeted(_Assessment):
    """A recipe of which nobody can say what it needs."""

    recipe: Recipe
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed(_Assessment):
    """A recipe and the memory it needs."""

    forecast: RecipeForecast

    @property
    def recipe(self) -> Recipe:
        """What was assessed."""
        return self.forecast.recipe


RecipeAssessment = Invalid | Unbudgeted | Assessed


def of_choice(
    profile_name: str, recipe_name: str, here: Profile, changes: Changes | None = None
) -> RecipeAssessment:
    """What is known of a choice in milliseconds; `here` is this machine."""
    changes = changes or {}
    edited = draft.read(recipe_name, changes)
    overrides = draft.overrides(changes)
    facts = recipe_facts.of_changes(changes)
    problems: list[Problem] = []
    recipe = profile = None
    try:
        recipe, text = validate.load(recipe_name, overrides)
        facts += _facts(recipe, text)
    except Refusal as refusal:
        problems += refusal.problems
        facts += _facts_on_paper(recipe_name, overrides)
    try:
        profile = here if profile_name == AUTO else profiles.profile(profile_name)
        facts += recipe_facts.of_profile(profile)
        profiles.runnable(profile_name)
    except Refusal as refusal:
        problems += refusal.problems
    if recipe is None or profile is None:
        return Invalid(facts=facts, problems=problems, draft=edited, recipe=recipe)
    return _with_memory(facts, problems, edited, recipe, profile)


def _facts(recipe: Recipe, text: bytes) -> list[Fact]:
    lines = recipe_facts.of_recipe(recipe, text.decode(), _gemma(recipe))
    return [
        *lines,
        *recipe_facts.of_weights(gguf_model.formats_of(recipe.model.path)),
        ("", "", ""),
    ]


def _facts_on_paper(recipe_name: str, overrides: list[str]) -> list[Fact]:
    """What is known of a recipe that lacks no more than its model or its rows."""
    try:
        return _facts(*validate.load(recipe_name, overrides, on_paper=True))
    except Refusal:
        return []


def _gemma(recipe: Recipe) -> Gemma | None:
    try:
        return catalog.variant_of(recipe.model.path)
    except Refusal:
        return None


def _with_memory(
    facts: list[Fact],
    problems: list[Problem],
    edited: Draft | None,
    recipe: Recipe,
    profile: Profile,
) -> Unbudgeted | Assessed:
    problems = [*problems, *validate_device.with_profile(recipe, profile)]
    forecast, reason = None, ""
    try:
        forecast = forecast_recipe(recipe, profile)
    except Refusal as refusal:
        reason = f"not known: {refusal.problems[0].reason}"
    try:
        step = forecast.step if forecast else resolved_step(recipe, profile)
        fit_check.require_weights_fit(recipe, profile, step)
    except Refusal as refusal:
        problems += refusal.problems
    if forecast is None:
        return Unbudgeted(
            facts=facts,
            problems=problems,
            draft=edited,
            notes=foresight.notes(edited, recipe, None),
            recipe=recipe,
            reason=reason,
        )
    pace = throughput.estimate(
        forecast.gemma, forecast.step, profile, recipe.training.gradient_accumulation_steps
    )
    facts = [
        *facts,
        *recipe_facts.of_tables(forecast.budget),
        *recipe_facts.of_pace(pace, foresight.steps(recipe)),
    ]
    notes = foresight.notes(edited, recipe, pace)
    assessed = Assessed(
        facts=facts, problems=problems, draft=edited, notes=notes, forecast=forecast
    )
    return assessed if forecast.budget.fits else _over(assessed, _SEEKING)


def remedied(assessed: Assessed) -> Assessed:
    """The same with what would make it fit, which takes longer to find than a key press."""
    remedy = fit_check.first_remedy(assessed.forecast)
    fix = f"It would fit with {', '.join(budget_page.keys(remedy))}" if remedy else _NONE_FITS
    return _over(assessed, fix)


def _over(assessed: Assessed, fix: str) -> Assessed:
    """With the problem that it doesn't fit as the last one."""
    others = [problem for problem in assessed.problems if problem.key != fit_check.MEMORY]
    needs = budget_page.verdict(assessed.forecast.budget)
    over = fit_check.problem(needs, assessed.forecast.profile, fix)
    return replace(assessed, problems=[*others, over])
