"""What will disappoint in a run that nothing is wrong with: too few steps, months, other rows."""

import math
import os
from functools import lru_cache
from pathlib import Path

from engine.budget import throughput
from engine.budget.throughput import Pace
from engine.problems import Problem
from engine.recipe import data_files, dotted, rows_glance, typed_value, validate
from engine.recipe.rows_glance import Glance
from engine.recipe.schema import Recipe, Source
from engine.sessions.preview import Answer, Refused, Reply
from workbench.recipe_editor import recipe_facts
from workbench.recipe_editor.draft import Draft
from workbench.text import format

_FEW_STEPS, _ENOUGH_STEPS = 30, 100
_LONG_S = 3 * 86400
_LONG_STEP_S = 600
_MOST_FILES = 20


def steps(recipe: Recipe) -> int | None:
    """How many it has, with the rows of local files counted; of long ones, reckoned."""
    of_recipe = throughput.steps(recipe)
    if of_recipe is not None or recipe.data.packing:
        return of_recipe
    counts = [_rows(source) for source in recipe.data.sources]
    heldout = recipe.data.heldout
    share = 1 - heldout if isinstance(heldout, float) else 1
    sources = tuple(
        source.model_copy(update={"rows": max(1, round(count * share))})
        for source, count in zip(recipe.data.sources, counts, strict=True)
        if count is not None
    )
    if len(sources) < len(counts):
        return None
    data = recipe.data.model_copy(update={"sources": sources})
    return throughput.steps(recipe.model_copy(update={"data": data}))


def notes(edited: Draft | None, recipe: Recipe, pace: Pace | None) -> list[Problem]:
    """What is worth a look before the start, each with what could be done."""
    return [
        *_of_rows(recipe),
        *_of_steps(recipe),
        *(_of_time(recipe, pace) if pace else []),
        *(_of_other_rows(edited, recipe) if edited else []),
        *_of_hub(recipe),
    ]


def is_at_hand(recipe: Recipe) -> bool:
    """Whether its rows can be prepared without the hub."""
    return all(source.path for source in recipe.data.sources) and not _of_hub(recipe)


def of_reply(recipe: Recipe, reply: Reply | None) -> list[Problem]:
    """What a preview's engine says of rows: what can't be read, what is lost, how few steps."""
    if isinstance(reply, Refused):
        return [*reply.problems]
    if not isinstance(reply, Answer):
        return []
    losses = [source.loss_of_rows for source in reply.sources if source.loss_of_rows]
    fix = "Mend them; the preview tells of all"
    lost = [Problem("", "", loss, fix) for loss in losses]
    is_packed = recipe.data.packing and recipe.training.max_steps <= 0
    return [*lost, *(_few(recipe, _packed_steps(recipe, reply), "about ") if is_packed else [])]


def _packed_steps(recipe: Recipe, answer: Answer) -> int:
    """Steps of rows that are laid into sequences, all of which are nearly full."""
    training, tokens = recipe.training, 0.0
    for source in answer.sources:
        shortest = 0
        for longest, rows in source.histogram:
            mean = min((shortest + longest) / 2, answer.max_length)
            tokens += rows * mean * source.seen_per_epoch / max(1, source.num_taken)
            shortest = longest
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
    sequences = math.ceil(tokens / answer.max_length)
    return math.ceil(math.ceil(sequences / batch) * training.num_train_epochs)


def _of_steps(recipe: Recipe) -> list[Problem]:
    count = steps(recipe)
    return [] if count is None else _few(recipe, count)


def _few(recipe: Recipe, count: int, about: str = "") -> list[Problem]:
    """That so many steps are few, and which key makes them more."""
    if not 0 < count < _FEW_STEPS:
        return []
    reason = f"{about}{format.amount(count, 'step')} in all, which teaches little"
    key, value = "training.max_steps", str(_ENOUGH_STEPS)
    if recipe.training.max_steps <= 0:
        epochs = math.ceil(recipe.training.num_train_epochs * _ENOUGH_STEPS / count)
        key, value = "training.num_train_epochs", str(epochs)
    return [Problem("", "", reason, f"{key}={value} makes it about {_ENOUGH_STEPS}")]


def _of_time(recipe: Recipe, pace: Pace) -> list[Problem]:
    count = steps(recipe)
    total_s = None if count is None else count * pace.step_s
    is_long = pace.step_s > _LONG_STEP_S if total_s is None else total_s > _LONG_S
    if not is_long:
        return []
    reason = f"a step takes about {format.span(pace.step_s)} on this hardware"
    if total_s is not None:
        reason = f"it takes about {format.span(total_s)} on this hardware"
    return [Problem("", "", reason, "Choose a smaller model, fewer steps or a faster device")]


def _of_other_rows(edited: Draft, recipe: Recipe) -> list[Problem]:
    """Where only the rows are changed, what the recipe asks and judges by is about its own."""
    if "data.sources" not in edited.changes:
        return []
    noted = []
    if "samples.prompts" not in edited.changes and dotted.get(edited.own, "samples.prompts"):
        own = "" if recipe.samples.rows else "samples.rows=3 asks some of yours, "
        fix = f"{own}samples.prompts=[] leaves those out"
        noted.append(Problem("", "", "the prompts of samples are about the recipe's rows", fix))
    is_own = not any(key.partition(".")[0] == "score" for key in edited.changes)
    if recipe.score and is_own:
        reason = "the score is of questions about the recipe's rows"
        noted.append(Problem("", "", reason, "score=none leaves it out"))
    return noted


def _of_rows(recipe: Recipe) -> list[Problem]:
    noted = []
    for path in {source.path: None for source in recipe.data.sources if source.path}:
        for file, glance in _glances(path, None):
            if glance.broken_lines:
                lines = ", ".join(map(str, glance.broken_lines[:5]))
                count = format.amount(len(glance.broken_lines), "line")
                reason = f"{recipe_facts.near(str(file))}: {count} can't be read (line {lines})"
                noted.append(Problem("", "", reason, "Mend them, or they are left out"))
    return noted


def _of_hub(recipe: Recipe) -> list[Problem]:
    path = recipe.model.path
    is_id = typed_value.HUB_ID.fullmatch(path) and not os.path.exists(path)
    if not is_id or validate.is_cached(path):
        return []
    reason = f"{path} is not in the hub's cache: it is fetched first"
    fix = "Be online" if validate.has_token() else "Where its page asks for terms: hf auth login"
    return [Problem("", "", reason, fix)]


def _rows(source: Source) -> int | None:
    """Rows that are taken of a source; None where a look at its files doesn't tell."""
    if isinstance(source.rows, int):
        return source.rows
    glances = [glance for _, glance in _glances(source.path, source.split)]
    counts = [glance.num_rows for glance in glances if glance.num_rows is not None]
    if not glances or len(counts) < len(glances):
        return None
    return round(sum(counts) * (source.rows or 1))


def _glances(path: str | None, split: str | None) -> list[tuple[Path, Glance]]:
    """The files of a source, none where they are many."""
    try:
        files = data_files.source_files(path, split).read if path else ()
        if len(files) > _MOST_FILES:
            return []
        stats = [(file, file.stat()) for file in files]
    except OSError:
        return []
    glances = ((file, _glance(file, stat.st_mtime_ns, stat.st_size)) for file, stat in stats)
    return [(file, glance) for file, glance in glances if glance]


@lru_cache(maxsize=64)
def _glance(file: Path, _written_ns: int, _size: int) -> Glance | None:
    return rows_glance.of_file(file)
