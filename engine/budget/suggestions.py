"""What would make a recipe fit a device: changes with what each saves and costs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.budget import forecast as budget
from engine.budget.forecast import Budget
from engine.budget.step_shape import of_recipe
from engine.gemma import catalog, parameters
from engine.hardware.profiles import Profile
from engine.recipe.schema import ATTENTION, Recipe

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


def forecast(recipe: Recipe, profile: Profile) -> Budget:
    """The ledger's forecast of a recipe. Raises `Refusal` where the model's shape is not known."""
    return budget.forecast(
        catalog.variant_of(recipe.model.path), of_recipe(recipe, profile), profile
    )


def suggestions(recipe: Recipe, profile: Profile) -> list[Suggestion]:
    """Single changes that save memory, those that make it fit first and among them the cheapest.

    Where none alone is enough, as many as it takes come first, together.
    """
    before = forecast(recipe, profile)
    found = [
        made
        for changes, costs in _changes(recipe, profile)
        if (made := _tried(recipe, profile, changes, costs, before)).saves_gib > 0
    ]
    fitting = [made for made in found if made.budget.fits]
    rest = sorted((made for made in found if not made.budget.fits), key=lambda s: -s.saves_gib)
    together = [] if before.fits or fitting else _together(recipe, profile, before)
    return [*together, *fitting, *rest]


def applied(recipe: Recipe, changes: Changes) -> Recipe:
    """The recipe with other values at keys such as "data.max_length"."""
    for key, value in changes.items():
        section, _, name = key.partition(".")
        changed = getattr(recipe, section).model_copy(update={name: value})
        recipe = recipe.model_copy(update={section: changed})
    return recipe


def largest(recipe: Recipe, profile: Profile) -> Largest:
    """The longest rows and the largest batch that fit, by bisection: both only ever need more."""
    context = catalog.variant_of(recipe.model.path).context_tokens // _STEP_TOKENS

    def fits(changes: Changes) -> bool:
        return forecast(applied(recipe, changes), profile).fits

    length = _most(lambda n: fits({"data.max_length": n * _STEP_TOKENS}), context)
    batch = _most(lambda n: fits({"training.per_device_train_batch_size": n}), 1024)
    return Largest(length * _STEP_TOKENS, batch)


def _most(fits: Any, most: int) -> int:
    """The largest number up to `most` for which something that is true for smaller ones holds."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _tried(
    recipe: Recipe, profile: Profile, changes: Changes, costs: str, before: Budget
) -> Suggestion:
    after = forecast(applied(recipe, changes), profile)
    saves = before.device.expected - after.device.expected
    return Suggestion(changes, costs, saves, after)


def _together(recipe: Recipe, profile: Profile, before: Budget) -> list[Suggestion]:
    """Changes on top of one another, cheapest first, without those that turned out needless."""
    taken: dict[frozenset[str], tuple[Changes, str]] = {}
    changed = recipe
    while not forecast(changed, profile).fits:
        option = _cheapest(changed, profile)
        if option is None:
            return []
        taken[frozenset(option[0])] = option
        changed = applied(changed, option[0])
    for keys in reversed([*taken]):
        rest = {other: option for other, option in taken.items() if other != keys}
        if forecast(applied(recipe, _joined(rest)), profile).fits:
            taken = rest
    costs = "; ".join(cost for _, cost in taken.values())
    return [_tried(recipe, profile, _joined(taken), costs, before)]


def _cheapest(recipe: Recipe, profile: Profile) -> tuple[Changes, str] | None:
    """The first change that saves anything and keeps the model."""
    before = forecast(recipe, profile)
    for changes, cost in _changes(recipe, profile):
        saved = _tried(recipe, profile, changes, cost, before).saves_gib
        if "model.path" not in changes and saved > _WORTH_GIB:
            return changes, cost
    return None


def _joined(taken: dict[frozenset[str], tuple[Changes, str]]) -> Changes:
    return {key: value for changes, _ in taken.values() for key, value in changes.items()}


def _changes(recipe: Recipe, profile: Profile) -> Iterator[tuple[Changes, str]]:
    """Single changes and what each costs, those that change least about the result first."""
    training = recipe.training
    if training.optim in {"adamw_torch", "paged_adamw_32bit"} and profile.device == "cuda":
        yield {"training.optim": "adamw_8bit"}, "nothing that has been measured"
    batch, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    if batch > 1 and not batch % 2:
        yield (
            {
                "training.per_device_train_batch_size": batch // 2,
                "training.gradient_accumulation_steps": accumulation * 2,
            },
            "the same effective batch, in more and smaller passes",
        )
    if _has_tables_on_device(recipe, profile):
        yield {"model.host_tables": True}, "rows of the tables come from the host with every batch"
    if not training.gradient_checkpointing:
        yield {"training.gradient_checkpointing": True}, "about a third more time for each step"
    can_quantise = profile.device == "cuda" and not recipe.adapter.target_experts
    if recipe.model.quantization == "none" and can_quantise:
        yield {"model.quantization": "nf4"}, "weights in 4 bits: a little worse, and slower steps"
    yield from _smaller(recipe)


def _has_tables_on_device(recipe: Recipe, profile: Profile) -> bool:
    has_tables = bool(catalog.variant_of(recipe.model.path).per_layer_width)
    return has_tables and not of_recipe(recipe, profile).tables_on_host


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
        kept = tuple(name for name in adapter.target_modules if name in ATTENTION)
        yield {"adapter.target_modules": kept or ATTENTION}, "only attention is adapted"
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
