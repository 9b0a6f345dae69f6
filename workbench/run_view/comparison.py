"""Several runs beside each other: how their recipes differ, what they came to, how they answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from engine.events import Metric
from engine.recipe import dotted
from engine.run.rundir import State
from workbench.run_view import metrics
from workbench.run_view.run_state import RunState
from workbench.text import format, toml_text
from workbench.text.styled import Row, Span, fit, wrap, wrapped

LETTERS = "abcdef"
_GAP: Span = ("  ", "")
_MAX_NAMES, _MIN_FIGURES, _MIN_ANSWERS = 34, 12, 28
"""Cells; narrower columns of answers would be harder to read than answers below each other."""
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


def keys(recipe: Any) -> dict[str, str]:
    """The values of a recipe as text, by dotted key."""
    return {
        key: "not set" if value is None else toml_text.of_value(value)
        for key, value in dotted.leaves(recipe).items()
    }


def differences(sides: Sequence[Side]) -> list[Line]:
    """The recipe keys that are not the same in all runs; a dash where a run has no such key."""
    names = {key: None for side in sides for key in side.recipe}
    lines = [(key, tuple(side.recipe.get(key, "-") for side in sides)) for key in names]
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
        "general answers kept": format.share(done.general_kept if done else None),
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


def name_rows(names: Sequence[str], width: int) -> list[Row]:
    """Letters and names of the runs, as many to a row as it has room for."""
    longest = max((len(name) for name in names), default=0) + 5
    per_row = max(1, width // longest)
    cells = [
        [(f"{letter} ", f"run {letter}"), (fit(name, min(longest, width) - 2), "")]
        for letter, name in zip(LETTERS, names, strict=False)
    ]
    starts = range(0, len(cells), per_row)
    return [[span for cell in cells[at : at + per_row] for span in cell] for at in starts]


def figure_rows(sides: Sequence[Side], width: int) -> list[Row]:
    """The keys that differ and what came of them: a column per run, named by its letter."""
    different = differences(sides)
    heading = "recipe" if different else "recipe: no key differs"
    rows: list[Row] = []
    for title, lines in ((heading, different), ("figures", figures(sides))):
        rows += _table(title, lines, width) if lines else [[(title, "dim")]]
    return rows


def _table(title: str, lines: Sequence[Line], width: int) -> list[Row]:
    count = len(lines[0][1])
    longest = max(len(title), *(len(name) for name, _ in lines))
    names = max(8, min(longest, _MAX_NAMES, width - count * (_MIN_FIGURES + len(_GAP[0]))))
    column = max(4, (width - names) // count - len(_GAP[0]))
    heads = [span for letter in LETTERS[:count] for span in (_GAP, _head(letter, column))]
    rows: list[Row] = [[(fit(title, names), "dim"), *heads]]
    for name, texts in lines:
        for first, *others in _stacked([(name, names), *((text, column) for text in texts)]):
            cells = [span for text in others for span in (_GAP, (text, "strong"))]
            rows.append([(first, ""), *cells])
    return rows


def _head(letter: str, column: int) -> Span:
    return fit(letter, column), f"run {letter}"


def _stacked(texts: Iterable[tuple[str, int]]) -> list[list[str]]:
    """Texts broken into columns of so many cells each, row by row."""
    texts = [*texts]
    stacks = zip_longest(*(wrap(text, column) for text, column in texts), fillvalue="")
    return [
        [fit(part, column) for part, (_, column) in zip(stack, texts, strict=True)]
        for stack in stacks
    ]


def answer_rows(answers: Sequence[Line], width: int) -> list[Row]:
    """Each prompt over its answers: in columns where there is room, below each other else."""
    if not answers:
        return [[("these runs have answered no prompt in common yet", "dim")]]
    count = len(answers[0][1])
    column = (width - (count - 1) * len(_GAP[0])) // count
    rows: list[Row] = []
    for prompt, texts in answers:
        rows += [[(line, "strong")] for line in wrap(prompt, width)]
        if column >= _MIN_ANSWERS:
            rows.append([s for letter in LETTERS[:count] for s in (_head(letter, column), _GAP)])
            stacked = _stacked((text, column) for text in texts)
            rows += [[span for part in row for span in ((part, ""), _GAP)] for row in stacked]
            continue
        for letter, text in zip(LETTERS, texts, strict=False):
            rows += wrapped(text, "", width, (f"{letter}  ", f"run {letter}"))
    return rows
