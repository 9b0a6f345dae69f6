"""A run at a glance: what a row of a table says of it, from a few kilobytes of its files."""

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


def at(run: RunDir) -> RunSummary:
    """Read a run's request, its plan and the end of its events."""
    request = _document(run.read_request_document)
    plan = _document(run.read_plan)
    last = next((event for event in run.last_events() if isinstance(event, Step)), None)
    return RunSummary(
        run.state(),
        _text(request, "name"),
        _text(request, "recipe", "model", "path"),
        _whole(plan, "plan", "total_steps"),
        last,
    )


def _document(read: Any) -> Any:
    try:
        return read()
    except (Refusal, OSError, ValueError):
        return {}


def _found(document: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _text(document: Any, *keys: str) -> str:
    found = _found(document, keys)
    return found if isinstance(found, str) else ""


def _whole(document: Any, *keys: str) -> int | None:
    found = _found(document, keys)
    return found if isinstance(found, int) else None
