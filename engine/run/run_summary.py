"""What a row of a table says of a run, from a few kilobytes of its files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from engine import guarded
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
    """Read a run's request, its plan and the end of its events.

    What is wrong with a document is told where the run's state has no cause to tell.
    """
    request, request_damage = _document(run.read_request_document)
    plan, plan_damage = _document(run.read_plan)
    damage = request_damage or (plan_damage and f"{run.plan.name}: {plan_damage}")
    state = run.state()
    if damage and not state.cause:
        state = replace(state, cause=damage)
    recipe, model = _value(request, "name"), _value(request, "recipe", "model", "path")
    total_steps = _value(plan, "plan", "total_steps")
    return RunSummary(
        state,
        recipe if isinstance(recipe, str) else "",
        model if isinstance(model, str) else "",
        total_steps if isinstance(total_steps, int) else None,
        next((event for event in run.last_events() if isinstance(event, Step)), None),
    )


def _document(read: Callable[[], dict[str, Any]]) -> tuple[Any, str]:
    """A document, or why there is none; a run that didn't come to write one lacks nothing."""
    try:
        return read(), ""
    except Refusal as refusal:
        return None, refusal.problems[0].reason
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as error:
        return None, guarded.reason(error)


def _value(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
