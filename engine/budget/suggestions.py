"""What would make a recipe fit a device: changes with what each saves and costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.budget.forecast import Budget
from engine.budget.placement import RecipeForecast, forecast_recipe
from engine.gemma import catalog, parameters
from engine.gemma.lora_targets import ATTENTION
from engine.recipe import dotted
from engine.recipe.schema import MAX_COUNT, Recipe

Changes = dict[str, Any]
_SHORTEST_TOKENS = 256
"""Below this few conversations are left whole."""
_STEP_TOKENS = 64
_WORTH_GIB = 0.01
"""Less than this is no reason to change anything."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Recipe keys with new values, and the forecast they lead to."""

    changes: Changes
    costs: str
    saves_gib: float
    budget: Budget

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `gemma-bench budget --json` gives it."""
        return {
            "set": self.changes,
            "saves_gib": round(self.saves_gib, 3),
            "costs": self.costs,
            "fits": self.budget.fits,
        }


@dataclass(frozen=True, slots=True)
class Largest:
    """The most that fits with everything else as it is; 0 where nothing does."""

    max_length: int
    per_device_train_batch_size: int


class _Trials:
    """A recipe with changed keys; each change is forecast once, and rows are looked at once."""

    def __init__(self, unchanged: RecipeForecast) -> None:
        self._unchanged = unchanged
        self._forecasts: dict[str, RecipeForecast] = {}

    def forecast(self, changes: Changes) -> RecipeForecast:
        """What follows from these changes."""
        if not changes:
            return self._unchanged
        key = repr(sorted(changes.items()))
        if key not in self._forecasts:
            recipe = applied(self._unchanged.recipe, changes)
            images = self._unchanged.step.images
            self._forecasts[key] = forecast_recipe(recipe, self._unchanged.profile, images=images)
        return self._forecasts[key]

    def fits(self, changes: Changes) -> bool:
        """Whether it is likely to fit with these changes."""
        return self.forecast(changes).budget.fits

    def saved_gib(self, changes: Changes, before: Changes) -> float:
        """What changes save of what is needed with others."""
        before_gib, after_gib = (
            self.forecast(each).budget.device.expected for each in (before, changes)
        )
        return before_gib - after_gib

    def suggestion(self, changes: Changes, costs: str) -> Suggestion:
        """These changes as an offer."""
        return Suggestion(
            changes, costs, self.saved_gib(changes, {}), self.forecast(changes).budget
        )


def suggestions(forecast: RecipeForecast) -> list[Suggestion]:
    """Single changes that save memory, those that make it fit first and among them the cheapest.

    Where none alone is enough, as many as it takes come first, together.
    """
    trials = _Trials(forecast)
    every = [trials.suggestion(changes, costs) for changes, costs in _changes(forecast)]
    saving = [suggestion for suggestion in every if suggestion.saves_gib > 0]
    fitting = [suggestion for suggestion in saving if suggestion.budget.fits]
    rest = sorted((s for s in saving if not s.budget.fits), key=lambda s: -s.saves_gib)
    together = [] if forecast.budget.fits or fitting else _together(trials)
    return [*together, *fitting, *rest]


def applied(recipe: Recipe, changes: Changes) -> Recipe:
    """The recipe with other values at keys such as "data.max_length".

    Raises `ValueError` where a key is unknown or a value is not one it takes.
    """
    document = recipe.model_dump(exclude_none=True)
    for key, value in changes.items():
        dotted.put(document, key, value)
    return Recipe.model_validate(document)


def largest(forecast: RecipeForecast) -> Largest:
    """The longest rows and the largest batch that fit, by bisection: both only ever need more."""
    context = forecast.gemma.context_tokens // _STEP_TOKENS
    trials = _Trials(forecast)
    length = _largest_true(lambda n: trials.fits({"data.max_length": n * _STEP_TOKENS}), context)
    batch = _largest_true(lambda n: trials.fits({"training.per_device_train_batch_size": n}), 1024)
    return Largest(length * _STEP_TOKENS, batch)


def _largest_true(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number up to a limit for which something that is true for smaller ones holds."""
    low, high = 0, 1
    while high <= limit and holds(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _together(trials: _Trials) -> list[Suggestion]:
    """Changes on top of one another, cheapest first, without those that turned out needless."""
    options: dict[frozenset[str], tuple[Changes, str]] = {}
    while not trials.fits(_joined(options)):
        option = _cheapest(trials, _joined(options))
        if option is None:
            return []
        options[frozenset(option[0])] = option
    for keys in reversed([*options]):
        rest = {other: option for other, option in options.items() if other != keys}
        if trials.fits(_joined(rest)):
            options = rest
    costs = "; ".join(costs for _, costs in options.values())
    return [trials.suggestion(_joined(options), costs)]


def _cheapest(trials: _Trials, before: Changes) -> tuple[Changes, str] | None:
    """The first change that saves anything on top of others and keeps the model."""
    for changes, costs in _changes(trials.forecast(before)):
        saved_gib = trials.saved_gib({**before, **changes}, before)
        if "model.path" not in changes and saved_gib > _WORTH_GIB:
            return changes, costs
    return None


def _joined(options: dict[frozenset[str], tuple[Changes, str]]) -> Changes:
    return {key: value for changes, _ in options.values() for key, value in changes.items()}


def _changes(forecast: RecipeForecast) -> Iterator[tuple[Changes, str]]:
    """Single changes and what each costs, those that change least about the result first."""
    recipe, profile = forecast.recipe, forecast.profile
    training = recipe.training
    if training.optim in {"adamw_torch", "paged_adamw_32bit"} and profile.device == "cuda":
        yield {"training.optim": "adamw_8bit"}, "nothing that has been measured"
    batch, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    if batch > 1 and not batch % 2 and accumulation <= MAX_COUNT // 2:
        yield (
            {
                "training.per_device_train_batch_size": batch // 2,
                "training.gradient_accumulation_steps": accumulation * 2,
            },
            "the same effective batch, in more and smaller passes",
        )
    if forecast.gemma.per_layer_width and not forecast.step.tables_on_host:
        yield {"model.host_tables": True}, "rows of the tables come from the host with every batch"
    if not training.gradient_checkpointing:
        yield {"training.gradient_checkpointing": True}, "about a third more time for each step"
    can_quantise = profile.device == "cuda" and not recipe.adapter.target_experts
    if recipe.model.quantization == "none" and can_quantise:
        yield {"model.quantization": "nf4"}, "weights in 4 bits: a little worse, and slower steps"
    yield from _smaller(recipe)


def _smaller(recipe: Recipe) -> Iterator[tuple[Changes, str]]:
    adapter, length = recipe.adapter, recipe.data.max_length
    if length // 2 >= _SHORTEST_TOKENS:
        cost = f"rows of over {length // 2} tokens are cut or dropped"
        yield {"data.max_length": length // 2}, cost
    if adapter.r > 8:
        yield {"adapter.r": adapter.r // 2}, "the adapter can learn less"
    if adapter.target_experts:
        yield {"adapter.target_experts": False}, "experts stay as they are"
    if isinstance(adapter.target_modules, tuple) and set(adapter.target_modules) - set(ATTENTION):
        attention = tuple(name for name in adapter.target_modules if name in ATTENTION)
        yield {"adapter.target_modules": attention or ATTENTION}, "only attention is adapted"
    if smaller := _next_smaller(recipe.model.path):
        yield {"model.path": smaller}, "another model, which knows less"


def _next_smaller(path: str) -> str | None:
    """The hub id of the next smaller Gemma of the generation."""
    name = catalog.name_of(path)
    if name is None:
        return None
    own = catalog.variant_of(name)
    others = [catalog.variant_of(other) for other in catalog.names()]
    below = [
        other
        for other in others
        if other.generation == own.generation and parameters.text(other) < parameters.text(own)
    ]
    return max(below, key=parameters.text).hub_id if below else None
