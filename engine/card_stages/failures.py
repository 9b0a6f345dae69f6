"""What a run does where memory really runs out, and after it was killed."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from engine.budget.placement import forecast_recipe
from engine.card_stages import engine_run
from engine.card_stages.card_trial import CardTrial, Part
from engine.card_stages.engine_run import Event, Settings
from engine.gemma.shapes import EMBEDDED
from engine.recipe.schema import Adapter, Data, Model, Recipe, Source, Training
from engine.run.job import Job

_TOO_MUCH = 1.3
"""Of what is free: what the first batch is forecast to need at least."""
_TOKENS = 512
_ROWS = 8
_KILLED_AT = 6
"""The batch at whose beginning the engine sends itself SIGKILL."""
_SAVED_EVERY = 3
_STEPS = 6


def parts(trial: CardTrial) -> Iterator[Part]:
    """A batch that the card can't hold, and a run that is killed and goes on."""
    yield from trial.each(
        [
            ("killed, and resumed", partial(_killed, trial)),
            ("out of memory, and retried", partial(_out_of_memory, trial)),
        ]
    )


def _out_of_memory(trial: CardTrial) -> Part:
    """The error that the card itself raises: the run begins again with less at a time."""
    batch = _batch_too_large(trial)
    words = " ".join(str(number) for number in range(2 * _TOKENS))
    settings: Settings = {
        "model": {"path": EMBEDDED, "dtype": "float32"},
        "data": {"max_length": _TOKENS},
        "training": {
            "per_device_train_batch_size": batch,
            "max_steps": 1,
            "gradient_checkpointing": False,
            "on_out_of_memory": "retry",
        },
    }
    run = engine_run.prepared(trial.folder / "memory", trial.profile, settings, [words] * batch)
    ended = engine_run.ended(trial, run)
    warnings = [event for event in ended.of_kind("warning") if event["code"] == "out_of_memory"]
    ended.require_done()
    return {
        "passed": bool(warnings),
        "batch": batch,
        "retries": len(warnings),
        "message": warnings[0]["message"] if warnings else "the card held all of it",
    }


def _batch_too_large(trial: CardTrial) -> int:
    """The least power of two whose step is forecast to need more than there is."""
    batch = 8
    while _needs_gib(trial, batch) < _TOO_MUCH * trial.profile.usable_gib:
        batch *= 2
    return batch


def _needs_gib(trial: CardTrial, batch: int) -> float:
    training = Training(per_device_train_batch_size=batch, gradient_checkpointing=False)
    recipe = Recipe(
        model=Model(path=EMBEDDED, dtype="float32"),
        adapter=Adapter(),
        data=Data(sources=(Source(path="rows"),), max_length=_TOKENS),
        training=training,
    )
    return forecast_recipe(recipe, trial.profile, images=0).budget.allocated.expected


def _killed(trial: CardTrial) -> Part:
    """Steps that were taken before the kill are taken again, and are the same to the bit."""
    settings: Settings = {
        "model": {"path": EMBEDDED, "dtype": "float32"},
        "training": {
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "max_steps": _STEPS,
            "save_steps": _SAVED_EVERY,
            "deterministic": True,
        },
    }
    rows = [f"The answer is {number}." for number in range(_ROWS)]
    run = engine_run.prepared(trial.folder / "killed", trial.profile, settings, rows)
    first = engine_run.ended(trial, run, fail=f"train.batch:kill@{_KILLED_AT}")
    if not first.code:
        return {"passed": False, "error": "the run ended before it could be killed"}
    resumed = engine_run.ended(trial, run, Job.RESUME)
    resumed.require_done()
    start = resumed.of_kind("resumed")[0]["step"]
    before, after = _losses(first.events), _losses(resumed.events[len(first.events) :])
    both = sorted(before.keys() & after.keys())
    return {
        "passed": bool(both) and all(before[step] == after[step] for step in both),
        "exit_code": first.code,
        "resumed_from": start,
        "steps_taken_twice": both,
        "exactness": resumed.of_kind("resumed")[0]["exactness"],
    }


def _losses(events: list[Event]) -> dict[int, Any]:
    return {event["step"]: event["metrics"]["loss"] for event in events if event["kind"] == "step"}
