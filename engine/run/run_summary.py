"""What a row of a table says of a run, from a few kilobytes of its files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from engine import guarded
from engine.events import Hello, Step
from engine.events.kinds import RESERVED_GIB, RSS_GIB
from engine.guarded import Json
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
    owner: str = ""
    """Name of the user whose run it is, or a number where the user has none."""
    made_at: float | None = None
    """Seconds since 1970 when its request was written."""
    device: str = ""
    """Title of the hardware profile."""
    pace_s: float | None = None
    """Seconds per step, of the last steps."""

    @property
    def left_s(self) -> float | None:
        """Seconds until its last step; None where it is not at work or can't be told."""
        last, total, pace_s = self.last_step, self.total_steps, self.pace_s
        if not self.state.is_alive or last is None or total is None or pace_s is None:
            return None
        return max(0, total - last.step) * pace_s

    @property
    def memory_gib(self) -> float | None:
        """Taken from the accelerator's driver where there is one, else of the process."""
        last = self.last_step
        reserved = last.metric(RESERVED_GIB.name) if last else None
        return reserved if reserved or not last else last.metric(RSS_GIB.name)


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
    total_steps, device = _value(plan, "plan", "total_steps"), _value(request, "hardware", "title")
    steps = _last_steps(run)
    owner, made_at = _owner(run)
    return RunSummary(
        state,
        recipe if isinstance(recipe, str) else "",
        model if isinstance(model, str) else "",
        total_steps if isinstance(total_steps, int) else None,
        steps[0] if steps else None,
        owner,
        made_at,
        device if isinstance(device, str) else "",
        _pace_s(steps),
    )


def _last_steps(run: RunDir) -> list[Step]:
    """From the last one back, as far as the log's end holds them since the engine began."""
    since = takewhile(lambda event: not isinstance(event, Hello), run.last_events())
    return [event for event in since if isinstance(event, Step)]


def _pace_s(steps: list[Step]) -> float | None:
    if len(steps) < 2 or steps[0].step <= steps[-1].step:
        return None
    return (steps[0].elapsed_s - steps[-1].elapsed_s) / (steps[0].step - steps[-1].step)


def _owner(run: RunDir) -> tuple[str, float | None]:
    try:
        written = run.request.lstat()
    except OSError:
        return "", None
    try:
        import pwd

        return pwd.getpwuid(written.st_uid).pw_name, written.st_mtime
    except (ImportError, KeyError):
        return str(written.st_uid), written.st_mtime


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


def _value(document: Json, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
