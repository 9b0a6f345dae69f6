"""Several runs beside each other: how their recipes differ, what they came to, how they answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.events import Metric
from engine.run.rundir import State
from workbench.run_view import metrics
from workbench.run_view.run_state import RunState
from workbench.text import format

LETTERS = "abcdef"
Line = tuple[str, tuple[str, ...]]
"""What a line is about, and a text for each run."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs."""

    name: str
    recipe: dict[str, str]
    """Every key of the resolved recipe, dotted, with its value as TOML spells simple ones."""
    run: RunState
    state: State


def keys(recipe: Any, prefix: str = "") -> dict[str, str]:
    """A nested recipe by dotted keys; a table within a list is named by its place."""
    if isinstance(recipe, dict):
        pairs = [
            (f"{prefix}.{key}" if prefix else str(key), value) for key, value in recipe.items()
        ]
    elif isinstance(recipe, list) and any(isinstance(item, dict) for item in recipe):
        pairs = [(f"{prefix}[{index}]", item) for index, item in enumerate(recipe)]
    else:
        return {prefix: json.dumps(recipe, ensure_ascii=False)}
    return {key: text for name, value in pairs for key, text in keys(value, name).items()}


def differences(sides: Sequence[Side]) -> list[Line]:
    """The recipe keys that are not the same in all runs; a dash where a run has no such key."""
    known = {key: None for side in sides for key in side.recipe}
    lines = [(key, tuple(side.recipe.get(key, "-") for side in sides)) for key in known]
    return [(key, texts) for key, texts in lines if len(set(texts)) > 1]


def figures(sides: Sequence[Side]) -> list[Line]:
    """What each run came to, or has come to so far."""
    rows = [_figures(side) for side in sides]
    names = {name: None for row in rows for name in row}
    lines = [(name, tuple(row.get(name, "-") for row in rows)) for name in names]
    return [(name, texts) for name, texts in lines if set(texts) != {"-"}]


def _figures(side: Side) -> dict[str, str]:
    run, last, done, plan = side.run, side.run.last_step, side.run.done, side.run.plan
    return {
        "state": side.state.name,
        "steps": "-" if last is None else format.count(last.step),
        **_outcomes(run, metrics.of_learning(run)),
        "trained facts": format.share(done.trained_exact if done else None),
        "held-out wordings": format.share(done.heldout_exact if done else None),
        "base model": format.share(done.base_exact if done else None),
        "tokens": "-" if last is None else format.count(last.tokens),
        "tokens/s": "-" if last is None else format.count(last.tokens_per_s),
        "took": "-" if last is None else format.duration(last.elapsed_s),
        **_outcomes(run, metrics.of_memory(run)),
        "trained": "-" if plan is None else format.count(plan.trainable_parameters),
    }


def _outcomes(run: RunState, measured: Sequence[Metric]) -> dict[str, str]:
    """The latest figures, and the lowest where those matter."""
    rows = {}
    for metric in measured:
        if metric.is_outcome:
            name = metrics.label(metric)
            rows[name] = metrics.figure(metric, run.steps.last(metric.name))
            if metric.has_lowest:
                rows[f"lowest {name}"] = metrics.figure(metric, run.steps.least(metric.name))
    return rows


def answers(sides: Sequence[Side]) -> list[Line]:
    """Each prompt that at least two runs answered, and what their adapters said last."""
    by_prompt = [
        {sample.prompt: sample.adapter for sample in side.run.last_samples} for side in sides
    ]
    prompts = {prompt: None for answers in by_prompt for prompt in answers}
    return [
        (prompt, tuple(answers.get(prompt, "-") for answers in by_prompt))
        for prompt in prompts
        if sum(prompt in answers for answers in by_prompt) > 1
    ]
