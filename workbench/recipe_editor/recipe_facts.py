"""What a screen says of a recipe and of a machine: names, values and inks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.hardware.profiles import Profile
from engine.recipe import files
from workbench.text import format
from workbench.text.layouts import Fact
from workbench.text.sanitize import sanitize_line

if TYPE_CHECKING:
    from engine.budget.forecast import Budget
    from engine.budget.throughput import Pace
    from engine.gemma.shapes import Gemma
    from engine.recipe.schema import Adapter, Data, Recipe, Source, Training


_BOTH_ENDS = "before and after"


def of_changes(changes: Mapping[str, str]) -> list[Fact]:
    """What is changed of a recipe."""
    lines = [f"{key} = {text}" for key, text in changes.items()]
    return [("" if number else "changed", line, "warn") for number, line in enumerate(lines)]


def of_profile(profile: Profile) -> list[Fact]:
    """What a run may use."""
    memory = f"{profile.usable_gib:.1f} of {profile.memory_gib:.1f} GiB usable"
    memory += f", {sanitize_line(profile.memory_of_others)}" if profile.memory_of_others else ""
    bf16 = "bfloat16" if profile.has_bf16 else "no bfloat16"
    facts = [("hardware", profile.title, "strong"), ("", f"{memory}, {bf16}", "")]
    return [*facts, ("why", profile.reason, "dim")] if profile.reason else facts


def of_weights(formats: str) -> list[Fact]:
    """That a model's weights were quantised before, where they were."""
    meaning = "rounded before training, so the base knows a little less"
    return [("weights", formats, "warn"), ("", meaning, "warn")] if formats else []


def of_tables(budget: Budget) -> list[Fact]:
    """That lookup tables don't stay on the device, where that is so."""
    if not budget.tables_on_host_gib:
        return []
    return [("tables", f"{budget.tables_on_host_gib:.1f} GiB in host memory", "")]


def of_pace(pace: Pace | None, steps: int | None) -> list[Fact]:
    """How long a step takes, and all of them, as far as that can be told from shapes."""
    if pace is None:
        return []
    of_step = f"about {format.span(pace.step_s)} a step, guessed to a factor of two"
    if steps is None:
        return [("time", of_step, "dim")]
    of_all = f"{format.amount(steps, 'step')}, about {format.span(steps * pace.step_s)}"
    return [("time", of_all, ""), ("", of_step, "dim")]


def of_recipe(recipe: Recipe, text: str, shape: Gemma | None = None) -> list[Fact]:
    """What the recipe says of itself, and the settings that decide what comes out."""
    purpose = files.purpose(text)
    model, adapter, data, training = recipe.model, recipe.adapter, recipe.data, recipe.training
    quantization = "" if model.quantization == "none" else f", {model.quantization}"
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
    length = (
        f"{training.max_steps} steps"
        if training.max_steps > 0
        else format.amount_of_epochs(training.num_train_epochs)
    )
    return [
        *([("recipe", purpose, "dim")] if purpose else []),
        ("model", f"{model.path}, {model.dtype}{quantization}", "strong"),
        ("adapter", _method(adapter), ""),
        ("", f"on {_adapted(adapter, shape)}", ""),
        *_data(data),
        ("training", f"{length}, {batch} rows a step", "strong"),
        ("", _rates(training), ""),
        ("samples", _samples(recipe), ""),
        ("saved", _saved(recipe), ""),
    ]


def _rates(training: Training) -> str:
    ratio = training.loraplus_lr_ratio
    of_b = "" if ratio == 1 else f" (B times {ratio:g})"
    return f"{training.learning_rate:.2g}{of_b} {training.lr_scheduler_type}, {training.optim}"


def _data(data: Data) -> list[Fact]:
    """One source in a line, several below their count."""
    first, *others = map(_source, data.sources)
    rows = f"at most {data.max_length} tokens a row, loss on {data.loss_on}"
    if not others:
        return [("data", first, "strong"), ("", rows, "")]
    count = format.amount(len(data.sources), "source")
    lines: list[Fact] = [("", line, "") for line in (rows, first, *others)]
    return [("data", count, "strong"), *lines]


def _source(source: Source) -> str:
    """Its name, where it lies, how much is taken of it, how often each row is seen."""
    where, line = source.id or near(source.path or ""), source.label
    folder = where.removesuffix(line)
    if folder == where:
        line = f"{line}: {where}"
    elif folder:
        line = f"{line} in {folder}"
    if source.rows is not None:
        is_share = isinstance(source.rows, float)
        amount = format.share(source.rows) if is_share else format.count(source.rows)
        line += f", {amount} of the rows" if is_share else f", {amount} rows"
    return line if source.weight == 1 else f"{line}, weight {source.weight:g}"


def near(path: str) -> str:
    """From the current folder, where there still is one and the path lies below it."""
    with contextlib.suppress(OSError):
        return path.removeprefix(f"{os.getcwd()}{os.sep}")
    return path


def _method(adapter: Adapter) -> str:
    scaled = ", rank-stabilised" if adapter.use_rslora else ""
    return f"{adapter.method}, r {adapter.r}, lora_alpha {adapter.lora_alpha}{scaled}"


def _adapted(adapter: Adapter, shape: Gemma | None) -> str:
    """The projections that get an adapter; where they lie and what it has, of a known shape."""
    targets = adapter.target_modules
    if shape is None:
        if isinstance(targets, str):
            return targets
        return format.amount(len(targets), "projection")
    from engine.gemma import parameters

    per_layer = parameters.adapted(shape, targets)
    there = format.amount(len(frozenset[str]().union(*per_layer)), "projection")
    layers = format.amount(sum(map(bool, per_layer)), "layer")
    experts = ""
    if adapter.target_experts and shape.experts:
        experts = f" and {shape.experts.count} experts"
    trained = parameters.lora(
        shape,
        targets,
        adapter.r,
        is_dora=adapter.method == "dora",
        adapts_experts=adapter.target_experts,
    )
    return f"{there}{experts} in {layers}, {format.count(trained)} trained parameters"


def _samples(recipe: Recipe) -> str:
    samples = recipe.samples
    prompts = format.amount(len(samples.prompts), "prompt")
    own = f" and {format.count(samples.rows)} of the data" if samples.rows else ""
    return f"{prompts}{own}, {f'every {samples.every} steps' if samples.every else _BOTH_ENDS}"


def _saved(recipe: Recipe) -> str:
    every, limit = recipe.training.save_steps, recipe.training.save_total_limit
    return f"every {every} steps, {limit} kept" if every else "the adapter at the end"
