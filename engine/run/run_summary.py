"""What a row of a table says of a run, from a few kilobytes of its files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.events import Step
from engine.problems import Refusal
from engine.run.rundir import RunDir, State


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Where a run stands; empty or None where its files don't tell."""

    state: State
    recipe: str = ""
    model: str = ""
    total_steps: int | None = None
    last_step: Step | None = None


def summarize(run: RunDir) -> RunSummary:
    """Read a run's request, its plan and the end of its events."""
    request = _document(run.read_request_document)
    recipe, model = _value(request, "name"), _value(request, "recipe", "model", "path")
    total_steps = _value(_document(run.read_plan), "plan", "total_steps")
    return RunSummary(
        run.state(),
        recipe if isinstance(recipe, str) else "",
        model if isinstance(model, str) else "",
        total_steps if isinstance(total_steps, int) else None,
        next((event for event in run.last_events() if isinstance(event, Step)), None),
    )


def _document(read: Callable[[], dict[str, Any]]) -> Any:
    try:
        return read()
    except (Refusal, OSError, ValueError):
        return None


def _value(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
