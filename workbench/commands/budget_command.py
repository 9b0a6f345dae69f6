"""`gemma-bench budget`: what recipes need on a device, as a table, or as JSON."""

import json
import time
from argparse import ArgumentParser, Namespace
from typing import Any

from engine.budget import suggestions, throughput
from engine.budget.placement import RecipeForecast, forecast_recipe
from engine.gemma import catalog, parameters
from engine.gemma.gguf import model as gguf_model
from engine.hardware import profiles
from engine.hardware.profiles import AUTO, Profile
from engine.problems import ExitCode
from engine.recipe import files, validate
from engine.recipe.schema import Recipe
from workbench.commands import options, recipe_options
from workbench.text import budget_page

_ALL = "all"


EXAMPLES = """\
  gemma-bench budget gemma4-e4b-qlora-sft --hardware rtx-4060-ti-16gb
  gemma-bench budget gemma3-4b-lora-sft --hardware all
  gemma-bench budget all                     each recipe on the hardware it fits"""


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, or all, on one device or several."""
    recipe_options.add_recipe(parser, "a recipe's name or path; all: each that comes along")
    options.add_hardware(parser, "; a list, or all")
    parser.add_argument(
        "--variants", action="store_true", help="with several cards: every Gemma in its place"
    )
    parser.add_argument(
        "--price", metavar="N", type=options.price, help="of an hour, for a run's cost"
    )
    options.add_json(parser, "one JSON object")


def run(arguments: Namespace) -> int:
    """Print what was asked for; exit code 4 where it doesn't fit. Raises `Refusal`."""
    if arguments.recipe == _ALL:
        return _print_recipes(arguments)
    named = recipe_options.named(arguments)
    recipe, _ = validate.load(named.name, named.overrides, on_paper=True)
    card_names = (arguments.hardware or AUTO).split(",")
    if card_names == [_ALL] or len(card_names) > 1:
        rows = _variants(recipe) if arguments.variants else {named.name: recipe}
        return _print_cards(rows, _cards(card_names), arguments)
    began = time.monotonic()
    profile = profiles.profile(arguments.hardware or AUTO)
    forecast = forecast_recipe(recipe, profile)
    offered = suggestions.suggestions(forecast)
    elapsed_s = round(time.monotonic() - began, 3)
    time_and_cost = _time_and_cost(forecast, arguments.price)
    loss = gguf_model.loss_of(recipe.model.path)
    if arguments.json:
        report = forecast.budget.as_dict() | {"suggestions": [s.as_dict() for s in offered]}
        report |= {"weights": loss} if loss else {}
        print(json.dumps(report | time_and_cost | {"seconds": elapsed_s}))
    else:
        lines = budget_page.page(named.name, profile, forecast.budget, offered)
        lines += budget_page.largest(suggestions.largest(forecast), recipe)
        lines += budget_page.time(time_and_cost)
        lines += [f"  weights: {loss}"] if loss else []
        print("\n".join(lines))
    return ExitCode.DONE if forecast.budget.fits else ExitCode.DOES_NOT_FIT


def _time_and_cost(forecast: RecipeForecast, price: float | None) -> dict[str, Any]:
    """Of a step and of all; nulls where the device's speed or the number of steps is not known."""
    training = forecast.recipe.training
    pace = throughput.estimate(
        forecast.gemma, forecast.step, forecast.profile, training.gradient_accumulation_steps
    )
    if pace is None:
        return {"step_s": None, "tokens_per_s": None, "hours": None, "cost": None}
    hours = pace.hours(training.max_steps) if training.max_steps > 0 else None
    return {
        "step_s": round(pace.step_s, 3),
        "tokens_per_s": round(pace.tokens_per_s),
        "hours": None if hours is None else round(hours, 2),
        "cost": None if hours is None or price is None else round(hours * price, 2),
    }


def _cards(card_names: list[str]) -> list[Profile]:
    every = [name for name in profiles.names() if name not in {AUTO, "cpu"}]
    return [profiles.profile(name) for name in (every if card_names == [_ALL] else card_names)]


def _print_recipes(arguments: Namespace) -> int:
    """The project's recipes, each on the hardware that it says it fits, or on what is asked for."""
    names = [name for name in files.names() if files.hardware_of(name)]
    overrides = recipe_options.named(arguments).overrides
    rows = {name: validate.load(name, overrides, on_paper=True)[0] for name in names}
    if arguments.hardware:
        return _print_cards(rows, _cards(arguments.hardware.split(",")), arguments)
    budgets = {name: _where_it_fits(name, recipe) for name, recipe in rows.items()}
    print(json.dumps(budgets) if arguments.json else "\n".join(budget_page.recipes(budgets)))
    return 0


def _where_it_fits(name: str, recipe: Recipe) -> dict[str, Any]:
    """What a recipe trains, and what it needs on its own hardware."""
    profile = profiles.profile(files.hardware_of(name))
    forecast, adapter = forecast_recipe(recipe, profile), recipe.adapter
    budget = forecast.budget
    return {
        "hardware": profile.name,
        "verdict": budget.verdict,
        "device_gib": budget.device.expected,
        "usable_gib": round(profile.usable_gib, 3),
        "host_gib": budget.host_gib,
        "batch": recipe.training.per_device_train_batch_size,
        "max_length": recipe.data.max_length,
        "trained": parameters.lora(forecast.gemma, adapter.target_modules, adapter.r),
    }


def _print_cards(rows: dict[str, Recipe], cards: list[Profile], arguments: Namespace) -> int:
    """Verdicts for several profiles."""
    verdicts = {
        name: {card.name: _verdict(changed, card) for card in cards}
        for name, changed in rows.items()
    }
    print(json.dumps(verdicts) if arguments.json else "\n".join(budget_page.cards(verdicts)))
    return 0


def _verdict(recipe: Recipe, profile: Profile) -> dict[str, Any]:
    """Whether it fits and what it takes; null where bitsandbytes has no kernels for 4 bits."""
    if recipe.model.quantization != "none" and profile.device == "mps":
        return {"verdict": None, "device_gib": None}
    budget = forecast_recipe(recipe, profile).budget
    return {"verdict": budget.verdict, "device_gib": budget.device.expected}


def _variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe with every Gemma, in 16 bits and in 4."""
    return {
        f"{name} {bits}": suggestions.applied(
            recipe,
            {"model.path": catalog.variant_of(name).hub_id, "model.quantization": quantization},
        )
        for name in catalog.names()
        for bits, quantization in (("16-bit", "none"), ("NF4", "nf4"))
    }
