"""What a run has told so far, as a pure fold of its events; no screen and no file is known here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import cast

from engine.events import (
    Checkpoint,
    Done,
    Event,
    Failed,
    Hello,
    Mark,
    Memory,
    Metric,
    Phase,
    Plan,
    Sample,
    Step,
    Warned,
)
from engine.events.kinds import SFT_METRICS
from workbench.run_view.series import Numbers, StepSeries, Values

_PACE_STEPS = 50
"""Steps that the pace is taken from: few enough to follow a change, many enough to be calm."""
_MAX_WARNINGS, _MAX_CHECKPOINTS, _MAX_MARKS, _MAX_SAMPLED_STEPS = 100, 100, 100, 64
"""What a state keeps of a run of days, so that its memory stays flat."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a viewer may show of one run."""

    hello: Hello | None = None
    phase: Phase | None = None
    plan: Plan | None = None
    last_step: Step | None = None
    steps: StepSeries = field(default_factory=StepSeries)
    """Series over the steps, named as the metrics of step events, and `tokens_per_s`."""
    recent: tuple[tuple[float, float], ...] = ()
    """Step and elapsed seconds of the latest steps, which tell the pace."""
    samples: dict[int, tuple[Sample, ...]] = field(default_factory=dict)
    """Answers by step, in the order of their prompts; of a long run, of every so many steps."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """The latest of them."""
    num_checkpoints: int = 0
    memory: Memory | None = None
    """Forecast against measured memory, once the engine has told it."""
    marks: tuple[int, ...] = ()
    """The latest steps that the user marked."""
    warnings: tuple[Warned, ...] = ()
    """The latest of them."""
    done: Done | None = None
    failed: Failed | None = None
    unread_lines: int = 0
    """Lines of its events that are damaged, or of a kind unknown here."""
    t: float = 0.0
    """The engine's clock at its last event, in seconds since hello."""

    def fold(self, events: Iterable[Event]) -> "RunState":
        """The state after more events."""
        state = self
        for kind, group in groupby(events, type):
            if kind is Step:
                state = state._with_steps(cast(list[Step], list(group)))
            else:
                state = reduce(RunState._with, group, state)
        return state

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
                latest = (*self.checkpoints, event)[-_MAX_CHECKPOINTS:]
                return replace(state, checkpoints=latest, num_checkpoints=self.num_checkpoints + 1)
            case Mark():
                return replace(state, marks=(*self.marks, event.step)[-_MAX_MARKS:])
            case Warned():
                return replace(state, warnings=(*self.warnings, event)[-_MAX_WARNINGS:])
            case Done():
                return replace(state, done=event)
            case Failed():
                return replace(state, failed=event)
        return state

    def _with_steps(self, steps: Sequence[Step]) -> "RunState":
        """Append steps; one that comes again, as after a resumption, replaces what followed it."""
        recent, last = self.recent, steps[-1]
        parts = list(_rising(steps))
        for part in parts:
            recent = _latest(recent, part)
        return replace(
            self,
            t=last.t,
            last_step=last,
            steps=self.steps.extended(map(_numbers, parts)),
            recent=recent,
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What its steps may carry."""
        return self.plan.metrics if self.plan else SFT_METRICS

    @property
    def is_ended(self) -> bool:
        """Whether the engine said its last word; one that died said none."""
        return self.done is not None or self.failed is not None

    @property
    def progress_ratio(self) -> float | None:
        """Share of the planned steps that are done; None before the plan."""
        if self.plan is None or self.plan.total_steps <= 0:
            return None
        return min(1.0, (self.last_step.step if self.last_step else 0) / self.plan.total_steps)

    @property
    def seconds_per_step(self) -> float | None:
        """The recent pace; None before the second step."""
        if len(self.recent) < 2:
            return None
        (first, began_s), (last, ended_s) = self.recent[0], self.recent[-1]
        done, took = last - first, ended_s - began_s
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
    more = {**samples, new.step: (*others, new)}
    if len(more) <= _MAX_SAMPLED_STEPS:
        return more
    latest = max(more)
    return {
        step: answers
        for index, (step, answers) in enumerate(sorted(more.items()))
        if index % 2 == 0 or step == latest
    }


def _rising(steps: Sequence[Step]) -> Iterable[Sequence[Step]]:
    """The steps in parts that grow; a new part begins where a step comes again."""
    starts = [i for i in range(1, len(steps)) if steps[i].step <= steps[i - 1].step]
    for start, end in zip([0, *starts], [*starts, len(steps)], strict=True):
        yield steps[start:end]


def _numbers(steps: Sequence[Step]) -> Numbers:
    """The columns of their metrics; a figure that was no number becomes one of floats."""
    metrics = [step.metrics for step in steps]
    # Nearly always each step has the metrics of the first.
    kinds = dict.fromkeys(map(tuple, metrics))
    names = {name: None for kind in kinds for name in kind}
    columns: dict[str, Values] = {name: _column(metrics, name) for name in names}
    columns["step"] = [float(step.step) for step in steps]
    columns["tokens_per_s"] = [step.tokens_per_s for step in steps]
    return columns


def _column(metrics: Sequence[dict[str, float | None]], name: str) -> Values:
    try:
        values = list(map(itemgetter(name), metrics))
    except KeyError:
        return [_figure(figures, name) for figures in metrics]
    return [math.nan if value is None else value for value in values] if None in values else values


def _figure(metrics: dict[str, float | None], name: str) -> float | None:
    """None where it was not measured."""
    if name not in metrics:
        return None
    value = metrics[name]
    return math.nan if value is None else value


def _latest(
    pairs: tuple[tuple[float, float], ...], steps: Sequence[Step]
) -> tuple[tuple[float, float], ...]:
    most = _PACE_STEPS + 1
    earlier = [pair for pair in pairs if pair[0] < steps[0].step]
    return (*earlier, *((step.step, step.elapsed_s) for step in steps[-most:]))[-most:]
