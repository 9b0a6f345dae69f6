"""Mistakes in what a recipe has trained: in its targets, and where its model can't carry them."""

import difflib
import re
from typing import Any

from engine.gemma import catalog, lora_targets, parameters, towers
from engine.gemma.shapes import Gemma
from engine.problems import Problem, Refusal
from engine.recipe.schema import Adapter, Model

_KEY, _EXPERTS = "adapter.target_modules", "adapter.target_experts"
_TIED = {lora_targets.TOKEN_TABLE, lora_targets.HEAD, lora_targets.PER_LAYER_TABLE}
_SHOWN = 3
"""Names of modules that a problem spells out."""


def of_section(section: dict[str, Any]) -> list[Problem]:
    """Mistakes of the section by itself, without the values that the schema refuses."""
    targets = section.get("target_modules", ())
    if isinstance(targets, str):
        return _in_expression(targets)
    return [problem for name in targets for problem in _in_name(name)]


def _in_name(name: str) -> list[Problem]:
    if name in lora_targets.PROJECTIONS:
        return []
    if name in _TIED:
        reason = "embeddings are tied to the output head, so an adapter there merges wrongly"
        return [Problem(_KEY, name, reason, f"Remove {name}")]
    near = difflib.get_close_matches(name, lora_targets.PROJECTIONS, 1)
    fix = (
        f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(lora_targets.PROJECTIONS)}"
    )
    reason = "no projection of a Gemma language model"
    return [Problem(_KEY, name, reason, fix, near[0] if near else "")]


def _in_expression(expression: str) -> list[Problem]:
    import regex

    try:
        re.compile(expression)  # PEFT's own reading of the names that are meant
        regex.compile(expression)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        fix = "Mend it, or give a list of projections"
        return [Problem(_KEY, expression, f"no regular expression: {error}", fix)]
    if re.fullmatch(r"\w+", expression):
        reason = "an expression has to match whole names, which have dots in them"
        return [Problem(_KEY, expression, reason, f'Write ["{expression}"], or .*{expression}')]
    if named := [tower for tower in towers.MODULES if tower in expression]:
        fix = f"Leave {named[0]} out: an expression means the language model only"
        return [Problem(_KEY, expression, "vision and audio towers get no adapter", fix)]
    return []


def with_model(model: Model, adapter: Adapter) -> list[Problem]:
    """Mistakes of an adapter on this model; those of its shape where that is known."""
    try:
        shape = catalog.variant_of(model.path)
    except Refusal:
        return _of_experts(model, adapter, None)
    is_sound = not of_section({"target_modules": adapter.target_modules})
    try:
        reach = _of_reach(adapter, shape) if is_sound else []
    except lora_targets.TooSlow as error:
        fix = "Write it without repetitions inside repetitions, or give a list of projections"
        reach = [Problem(_KEY, str(adapter.target_modules), str(error), fix)]
    return [*reach, *_of_experts(model, adapter, shape)]


def _of_reach(adapter: Adapter, shape: Gemma) -> list[Problem]:
    """Whether something is meant that is there, and nothing that must stay as it is."""
    targets = adapter.target_modules
    text = targets if isinstance(targets, str) else ", ".join(targets)
    if isinstance(targets, str) and (others := _others(targets, shape)):
        reason = f"it also means {others}: tables, head and routers get no adapter"
        return [Problem(_KEY, text, reason, "Let it mean projections only, as .*_proj does")]
    names = {name for layer in shape.layers for name, _, _ in parameters.linears(shape, layer)}
    absent = [] if isinstance(targets, str) else [name for name in targets if name not in names]
    if absent and len(absent) < len(targets):
        # PEFT says nothing of an entry that means nothing where another means something.
        reason = f"{', '.join(absent)} means nothing in {shape.name}, which the others are in"
        return [Problem(_KEY, text, reason, f"Remove {', '.join(absent)}")]
    if any(parameters.adapted(shape, targets)):
        return []
    there = ", ".join(name for name in lora_targets.PROJECTIONS if name in names)
    last = lora_targets.path(len(shape.layers) - 1, "q_proj")
    fix = f"Its projections are {there}; the last q_proj is model.language_model.{last}"
    return [Problem(_KEY, text, f"it means nothing in {shape.name}", fix)]


def _others(expression: str, shape: Gemma) -> str:
    names = [
        name for name in lora_targets.untouchable(shape) if lora_targets.matches(expression, name)
    ]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))


def _of_experts(model: Model, adapter: Adapter, shape: Gemma | None) -> list[Problem]:
    """Whether experts are there for PEFT to adapt, and nothing stands in its way."""
    if not adapter.target_experts:
        return []
    mistakes = []
    if shape is not None and shape.experts is None:
        mistakes.append((f"{shape.name} has no experts, as Gemma 4 26B-A4B has", "Leave it out"))
    if model.quantization != "none":
        reason = "PEFT would leave out quantised experts without a word"
        fix = 'Set model.quantization = "none", or adapt the projections only'
        mistakes.append((reason, fix))
    if adapter.method == "dora":
        mistakes.append(("PEFT has no DoRA for experts", 'Set adapter.method = "lora"'))
    if adapter.lora_dropout:
        mistakes.append(("PEFT has no dropout for experts", "Set adapter.lora_dropout = 0"))
    return [Problem(_EXPERTS, "true", reason, fix) for reason, fix in mistakes]
