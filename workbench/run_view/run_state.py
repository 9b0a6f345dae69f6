"""What a run has told so far, as a pure fold of its events; no screen and no file is known here."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import chain, groupby

from engine.events import (
    Checkpoint,
    Done,
    Event,
    Failed,
    Hello,
    Mark,
    Memory,
    Phase,
    Plan,
    Sample,
    Step,
    Warned,
    step_blocks,
)
from engine.events.step_blocks import Numbers, StepBlock
from workbench.run_view.series import Columns

CURVES = (
    "loss",
    "token_accuracy",
    "learning_rate",
    "grad_norm",
    "tokens_per_s",
    "reserved_gib",
    "rss_gib",
)
"""Fields of a step event that a chart may show."""
_PACE_STEPS = 50
"""Steps that the pace is taken from: few enough to follow a change, many enough to be calm."""
_MOST_WARNINGS, _MOST_CHECKPOINTS, _MOST_MARKS, _MOST_SAMPLED = 100, 100, 100, 64
"""What a state keeps of a run of days, so that its memory stays flat."""


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a viewer may show of one run."""

    hello: Hello | None = None
    phase: Phase | None = None
    plan: Plan | None = None
    last_step: Step | None = None
    steps: Columns = field(default_factory=lambda: Columns(CURVES))
    """Series over the steps, named as the fields of a step event."""
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
    best_loss: float | None = None
    """The lowest loss of any step."""
    unread_lines: int = 0
    """Lines of its events that are damaged, or of a kind unknown here."""
    t: float = 0.0
    """The engine's clock at its last event, in seconds since hello."""

    def fold(self, events: Iterable[Event | StepBlock]) -> "RunState":
        """The state after more events; steps may come one by one or as stretches."""
        state = self
        for are_steps, group in groupby(
            _in_stretches(events), lambda it: isinstance(it, StepBlock)
        ):
            if are_steps:
                state = state._with_steps(it for it in group if isinstance(it, StepBlock))
            else:
                alone = (it for it in group if not isinstance(it, StepBlock))
                state = reduce(RunState._with, alone, state)
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
                kept = (*self.checkpoints, event)[-_MOST_CHECKPOINTS:]
                return replace(state, checkpoints=kept, num_checkpoints=self.num_checkpoints + 1)
            case Mark():
                return replace(state, marks=(*self.marks, event.step)[-_MOST_MARKS:])
            case Warned():
                return replace(state, warnings=(*self.warnings, event)[-_MOST_WARNINGS:])
            case Done():
                return replace(state, done=event)
            case Failed():
                return replace(state, failed=event)
        return state

    def _with_steps(self, stretches: Iterable[StepBlock]) -> "RunState":
        """Append steps; one that comes again, as after a resumption, replaces what followed it.

        Each stretch is read when the one before it is done with, so that little is held at once.
        """
        last, recent, best_loss = self.last_step, self.recent, self.best_loss

        def parts() -> Iterator[Numbers]:
            nonlocal last, recent, best_loss
            for new in stretches:
                known = () if best_loss is None else (best_loss,)
                losses = filter(math.isfinite, new.numbers["loss"])
                last, best_loss = new.last, min(chain(known, losses), default=None)
                for numbers in new.rising():
                    recent = _latest(recent, numbers)
                    yield numbers

        steps = self.steps.extended(parts())
        t = last.t if last else self.t
        return replace(self, t=t, last_step=last, steps=steps, recent=recent, best_loss=best_loss)

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
    if len(more) <= _MOST_SAMPLED:
        return more
    latest = max(more)
    return {
        step: answers
        for place, (step, answers) in enumerate(sorted(more.items()))
        if place % 2 == 0 or step == latest
    }


def _in_stretches(events: Iterable[Event | StepBlock]) -> Iterator[Event | StepBlock]:
    """The same events, none of them a single step."""
    steps: list[Step] = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
            continue
        if steps:
            yield step_blocks.of(steps)
            steps = []
        yield event
    if steps:
        yield step_blocks.of(steps)


def _latest(
    known: tuple[tuple[float, float], ...], numbers: Numbers
) -> tuple[tuple[float, float], ...]:
    most = _PACE_STEPS + 1
    steps, elapsed_s = numbers["step"], numbers["elapsed_s"]
    kept = [pair for pair in known if pair[0] < steps[0]]
    return (*kept, *zip(steps[-most:], elapsed_s[-most:], strict=True))[-most:]
