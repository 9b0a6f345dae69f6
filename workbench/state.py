"""What a run has told so far, as a pure fold of its events; no screen and no file is known here."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

from engine.events import (
    Checkpoint,
    Done,
    Event,
    Failed,
    Hello,
    Memory,
    Phase,
    Plan,
    Sample,
    Step,
    Warned,
)
from workbench.columns import Columns

_STEP_FIELDS = tuple(f.name for f in fields(Step) if f.name != "time")
_PACE_STEPS = 50
"""Steps that the pace is taken from: few enough to follow a change, many enough to be calm."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a viewer may show of one run."""

    hello: Hello | None = None
    phase: Phase | None = None
    plan: Plan | None = None
    last_step: Step | None = None
    steps: Columns = field(default_factory=lambda: Columns(_STEP_FIELDS))
    """A row per step; columns are named as the fields of a step event."""
    samples: dict[int, tuple[Sample, ...]] = field(default_factory=dict)
    """Answers by step, in the order of their prompts."""
    checkpoints: tuple[Checkpoint, ...] = ()
    memory: Memory | None = None
    """Forecast against measured memory, once the engine has told it."""
    warnings: tuple[Warned, ...] = ()
    done: Done | None = None
    failed: Failed | None = None
    best_loss: float | None = None
    """The lowest loss of any step."""
    t: float = 0.0
    """The engine's clock at its last event, in seconds since hello."""

    def fold(self, events: Iterable[Event]) -> "RunState":
        """The state after more events."""
        batch: list[Step] = []
        state = self
        for event in events:
            if isinstance(event, Step):
                batch.append(event)
                continue
            state = state._with_steps(batch)._with(event)
            batch = []
        return state._with_steps(batch)

    def _with(self, event: Event) -> "RunState":
        state = replace(self, t=event.t)
        match event:
            case Hello():
                return replace(state, hello=event, phase=None, done=None, failed=None)
            case Phase():
                return replace(state, phase=event)
            case Plan():
                return replace(state, plan=event)
            case Memory():
                return replace(state, memory=event)
            case Sample():
                return replace(state, samples=_with_sample(self.samples, event))
            case Checkpoint():
                return replace(state, checkpoints=(*self.checkpoints, event))
            case Warned():
                return replace(state, warnings=(*self.warnings, event))
            case Done():
                return replace(state, done=event)
            case Failed():
                return replace(state, failed=event)
        return state

    def _with_steps(self, batch: list[Step]) -> "RunState":
        """Append steps; one that comes again, as after a resumption, replaces what followed it."""
        if not batch:
            return self
        kept = _rows_before(self.steps, batch[0].step)
        steps = self.steps if kept == len(self.steps) else self.steps.first(kept)
        rows = [[getattr(step, name) for name in _STEP_FIELDS] for step in batch]
        losses = [
            loss for loss in (self.best_loss, *(step.loss for step in batch)) if loss is not None
        ]
        return replace(
            self,
            t=batch[-1].t,
            last_step=batch[-1],
            steps=steps.extended(rows),
            best_loss=min(losses, default=None),
        )

    @property
    def is_ended(self) -> bool:
        """Whether the engine said its last word; one that died said none."""
        return self.done is not None or self.failed is not None

    @property
    def last_loss(self) -> float | None:
        """Loss of the last step; None before it, or where it was not a number."""
        return self.last_step.loss if self.last_step else None

    @property
    def progress_ratio(self) -> float | None:
        """Share of the planned steps that are done; None before the plan."""
        if self.plan is None or self.plan.total_steps <= 0:
            return None
        return min(1.0, (self.last_step.step if self.last_step else 0) / self.plan.total_steps)

    @property
    def seconds_per_step(self) -> float | None:
        """The recent pace; None before the second step."""
        rows = min(len(self.steps), _PACE_STEPS + 1)
        if rows < 2:
            return None
        done = self.steps.value("step", -1) - self.steps.value("step", -rows)
        took = self.steps.value("elapsed_s", -1) - self.steps.value("elapsed_s", -rows)
        return took / done if done > 0 and took > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest of the training takes at the recent pace."""
        pace = self.seconds_per_step
        if self.plan is None or self.last_step is None or pace is None or self.is_ended:
            return None
        return max(0, self.plan.total_steps - self.last_step.step) * pace

    @property
    def last_samples(self) -> tuple[Sample, ...]:
        """Answers of the latest step that was sampled."""
        return self.samples[max(self.samples)] if self.samples else ()


def _with_sample(
    samples: dict[int, tuple[Sample, ...]], new: Sample
) -> dict[int, tuple[Sample, ...]]:
    others = tuple(old for old in samples.get(new.step, ()) if old.prompt != new.prompt)
    return {**samples, new.step: (*others, new)}


def _rows_before(steps: Columns, step: int) -> int:
    rows = len(steps)
    while rows and steps.value("step", rows - 1) >= step:
        rows -= 1
    return rows
