"""Runs in states that are rarer, told in events: made when asked for, the same at every call."""

import json
import math
from collections.abc import Callable
from pathlib import Path

from flat_steps import changed
from recording import TRAINED, lay_down, opening, samples, steps

from engine.events import Checkpoint, Done, Event, Hello, Mark, Phase, encode
from engine.run.rundir import RunDir


def not_finite() -> list[Event]:
    """A run whose loss was no number at two steps in a row, and which went on."""
    return [
        *opening(240),
        *(
            changed(step, loss=math.nan, grad_norm=math.nan) if step.step in {40, 41} else step
            for step in steps(70, 240)
        ),
    ]


def stopped() -> list[Event]:
    """A run that was asked to stop after its 80th step."""
    ending = Done(
        steps=80, loss=0.69, token_accuracy=0.84, elapsed_s=9.6, adapter="adapter",
        stopped_by="app",
    )  # fmt: skip
    saved = Checkpoint(step=80, path="checkpoints/step-000080")
    return [*opening(240), *steps(80, 240), saved, *samples(80, TRAINED), ending]


def resumed() -> list[Event]:
    """A run that died after step 100 and went on from its checkpoint of step 60."""
    hello = Hello(schema=1, job="train", pid=4343, host="bench", version="0.1.0")
    return [
        *opening(240),
        *steps(60, 240),
        Checkpoint(step=60, path="checkpoints/step-000060"),
        *(changed(step, loss=(step.metric("loss") or 0) + 1) for step in steps(100, 240, 61)),
        hello,
        Phase(name="training", detail="LoRA r 32 on 48 modules, from step 60"),
        *steps(150, 240, 61),
        Mark(step=61),
    ]


def many_steps() -> list[Event]:
    """A run of 20,000 steps with answers every thousand."""
    told: list[Event] = [*opening(20_000)]
    for first in range(1, 20_001, 1_000):
        told += steps(first + 999, 20_000, first)
        told += samples(first + 999, (f"{TRAINED[0]} ({first + 999})", TRAINED[1]))
    return told


def just_begun() -> list[Event]:
    """A run whose engine has said hello and no more."""
    return opening(240)[:1]


def lay_down_dpo(runs: Path) -> RunDir:
    """Preference training as a later version might tell it: with keys and kinds unknown here."""
    run = lay_down(runs, "2026-11-21-0940-dpo", opening(100))
    with run.events.open("ab") as file:
        for step in steps(50, 100):
            record = json.loads(encode(changed(step, token_accuracy=None, loss=0.69)))
            record |= {"rewards_chosen": 0.1, "rewards_margin": {"mean": 0.3}}
            file.write(json.dumps(record).encode() + b"\n")
        file.write(b'{"kind": "preference", "t": 1.0, "time": "", "wins": 0.8}\n')
    return run


def lay_down_empty(runs: Path) -> RunDir:
    """A run whose engine never spoke."""
    run = lay_down(runs, "2026-11-21-0941-empty", [])
    run.events.unlink()
    return run


STATES: dict[str, tuple[Callable[[], list[Event]], str]] = {
    "not-finite": (not_finite, "died"),
    "stopped": (stopped, "stopped"),
    "resumed": (resumed, "died"),
    "many-steps": (many_steps, "died"),
    "just-begun": (just_begun, "died"),
}
"""By name: the events, and the state of a run whose engine is gone after them."""
