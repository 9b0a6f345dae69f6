"""The runs of a folder as rows of a table: narrowed by words, put in an order, told in cells."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.run.run_summary import RunSummary
from engine.run.rundir import RunDir
from workbench.text import format
from workbench.text.fuzzy import narrowed
from workbench.text.sanitize import sanitize_line

COLUMNS = (
    "", "run", "state", "left", "step", "loss", "owner", "GiB", "device", "age", "how it ended",
)  # fmt: skip
"""In the order of what one needs to know who looks after a machine."""
SPARED = ("device", "age", "GiB", "owner", "loss")
"""What a table goes without first that is too narrow for all."""
ORDERS = ("newest", "name", "state", "loss", "steps", "left", "owner", "memory", "device", "end")
ORDER_OF_COLUMN = {
    "run": "name", "state": "state", "left": "left", "step": "steps", "loss": "loss",
    "owner": "owner", "GiB": "memory", "device": "device", "age": "newest", "how it ended": "end",
}  # fmt: skip
_CAUSE_CHARS = 200
_LIVELINESS = ("running", "starting", "done", "stopped", "failed", "died", "damaged")


@dataclass(frozen=True, slots=True)
class Entry:
    """A run and what a glance at it told."""

    run: RunDir
    glance: RunSummary

    @property
    def loss(self) -> float:
        """Of the last step; infinite before it or where it was no number, so that it sorts last."""
        last = self.glance.last_step
        loss = last.metric("loss") if last else None
        return float("inf") if loss is None else loss

    @property
    def step(self) -> int:
        """The last one."""
        return self.glance.last_step.step if self.glance.last_step else 0


def arranged(entries: Sequence[Entry], words: str, order: str) -> list[Entry]:
    """The entries that the words find, in one of the orders; they come newest first."""
    matches = narrowed(entries, words, _searched)
    match order:
        case "name":
            return sorted(matches, key=lambda entry: entry.run.name)
        case "state":
            return sorted(matches, key=lambda entry: _LIVELINESS.index(entry.glance.state.name))
        case "loss":
            return sorted(matches, key=lambda entry: entry.loss)
        case "steps":
            return sorted(matches, key=lambda entry: -entry.step)
        case "left":
            return sorted(matches, key=lambda entry: _or_last(entry.glance.left_s))
        case "owner":
            return sorted(matches, key=lambda entry: entry.glance.owner)
        case "memory":
            return sorted(matches, key=lambda entry: -(entry.glance.memory_gib or 0))
        case "device":
            return sorted(matches, key=lambda entry: entry.glance.device)
        case "end":
            return sorted(matches, key=lambda entry: entry.glance.state.cause)
    return matches


def _or_last(number: float | None) -> float:
    return float("inf") if number is None else number


def _searched(entry: Entry) -> str:
    glance = entry.glance
    parts = (
        entry.run.name, glance.state.name, glance.state.cause, glance.recipe, glance.model,
        glance.owner, glance.device,
    )  # fmt: skip
    return " ".join(parts)


def cells(entry: Entry, marked: Iterable[str]) -> tuple[str, ...]:
    """One text per column."""
    glance, memory_gib = entry.glance, entry.glance.memory_gib
    age_s = None if glance.made_at is None else time.time() - glance.made_at
    total = f"/{glance.total_steps}" if glance.total_steps else ""
    last = glance.last_step
    return (
        "*" if entry.run.name in marked else " ",
        sanitize_line(entry.run.name),
        glance.state.name,
        "" if glance.left_s is None else format.duration(glance.left_s),
        f"{entry.step}{total}" if last else "-",
        format.figure(last.metric("loss")) if last else "-",
        sanitize_line(glance.owner),
        "" if memory_gib is None else f"{memory_gib:.1f}",
        sanitize_line(glance.device, _CAUSE_CHARS),
        "" if age_s is None else format.age(age_s),
        sanitize_line(glance.state.cause, _CAUSE_CHARS),
    )


def summary(num_shown: int, entries: Sequence[Entry], order: str, setup_key: str) -> str:
    """How many runs there are, how many are shown, and in which order."""
    if not entries:
        return f"no run yet: {setup_key} sets one up"
    num_alive = sum(entry.glance.state.is_alive for entry in entries)
    num_runs = format.amount(len(entries), "run")
    shown = num_runs if num_shown == len(entries) else f"{num_shown} of {num_runs}"
    text = f"{shown}, {num_alive} at work"
    return text if order == ORDERS[0] else f"{text}, by {order}"
