"""A run in words: JSON lines, one line per step, or a progress line that redraws itself."""

import shutil
import sys
from collections.abc import Sequence

from engine import events
from engine.events import Metric
from engine.run.rundir import RunDir
from workbench.commands.final_report import ending
from workbench.commands.status_line import StatusLine
from workbench.run_view import forecast_vs_measured, metrics
from workbench.run_view.run_state import RunState
from workbench.text import format
from workbench.text.sanitize import clean_line

_BAR_CELLS = 24


class Json:
    """The events as they stand in the run, on stdout; notes on stderr."""

    def show(self, lines: list[bytes], known: list[events.Event]) -> None:
        """Pass the lines on."""
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Narrate."""
        print(text, file=sys.stderr, flush=True)


class Lines:
    """One line per event, for logs and pipes."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.state = RunState()

    def show(self, lines: list[bytes], known: list[events.Event]) -> None:
        """Print what is new."""
        for event in known:
            self.state = self.state.fold([event])
            self.tell(event)

    def tell(self, event: events.Event) -> None:
        """Print one event, if it says something to a person."""
        text = sentence(event, self.state)
        if text:
            self.note(text)
        if isinstance(event, events.Done):
            self.note(ending(self.run, self.state, _width()))

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)


class ProgressLine(Lines):
    """Steps on one line that is drawn again; everything else above it."""

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self._status = StatusLine(sys.stdout)

    def show(self, lines: list[bytes], known: list[events.Event]) -> None:
        """Print what is no step, then the progress of the last one."""
        for event in known:
            self.state = self.state.fold([event])
            if not isinstance(event, events.Step):
                self.tell(event)
        if known and isinstance(known[-1], events.Step):
            self._status.show(progress(self.state))

    def note(self, text: str) -> None:
        """Print a line below the progress."""
        self._status.keep()
        print(text, flush=True)


def sentence(event: events.Event, state: RunState) -> str:
    """An event in words; empty where a person needs none."""
    match event:
        case events.Hello():
            return f"engine {event.version} on {clean_line(event.host)}, process {event.pid}"
        case events.Phase():
            return f"{event.name}: {clean_line(event.detail)}"
        case events.Plan():
            return _plan(event)
        case events.Step():
            return progress(state)
        case events.Memory():
            return f"memory after step {event.step}: {forecast_vs_measured.compared(event)}"
        case events.Sample():
            answers = f"base: {clean_line(event.base)} | adapter: {clean_line(event.adapter)}"
            return f"step {event.step}: {clean_line(event.prompt)}\n  {answers}"
        case events.Mark():
            return f"step {event.step} is marked"
        case events.Checkpoint():
            return f"checkpoint: {clean_line(event.path)}"
        case events.Resumed():
            return _resumed(event)
        case events.Warned():
            return f"warning: {clean_line(event.message)}. {clean_line(event.fix)}"
        case events.Failed():
            told = f"failed while {event.phase}: {clean_line(event.error)}"
            return f"{told}\n  {clean_line(event.hint)}\n  log: {clean_line(event.log)} in the run"
    return ""


def _resumed(event: events.Resumed) -> str:
    of = f" of {event.parent}" if event.parent else ""
    told = [f"goes on after step {event.step}{of}, {event.exactness}"]
    told += [f"  not from {name}: {reason}" for name, reason in event.rejected.items()]
    return "\n".join(map(clean_line, told))


def progress(state: RunState) -> str:
    """Bar, loss, accuracy, pace and time left of the last step, on one line."""
    step = state.last_step
    if step is None:
        return ""
    total = state.plan.total_steps if state.plan else step.step
    share = state.progress_ratio or 0.0
    bar = "#" * round(share * _BAR_CELLS)
    figures = [
        f"[{bar:-<{_BAR_CELLS}}] {step.step}/{total}",
        *_figures(state, metrics.of_learning(state)),
        f"{step.tokens_per_s:,.0f} tokens/s",
        *_figures(state, metrics.of_memory(state)),
    ]
    if state.eta_s is not None:
        figures.append(f"{format.duration(state.eta_s)} left")
    return "  ".join(figures)


def _figures(state: RunState, measured: Sequence[Metric]) -> list[str]:
    return [
        f"{metrics.label(metric)} {_figure(metric, state.steps.last(metric.name))}"
        for metric in measured
        if metric.is_outcome
    ]


def _figure(metric: Metric, value: float | None) -> str:
    """In as many digits at every step, so that a line which is drawn again stands still."""
    is_steady = value is not None and value == value and metric.style in {"number", "share"}
    return f"{value:.3f}" if is_steady else metrics.figure(metric, value)


def _plan(plan: events.Plan) -> str:
    dropped = ", ".join(f"{count} x {clean_line(reason)}" for reason, count in plan.dropped.items())
    share = plan.supervised_tokens / max(plan.tokens, 1)
    lines = [
        f"{plan.parameters:,} parameters in {plan.dtype} on {plan.device}; "
        f"{plan.trainable_parameters:,} trained in {len(plan.target_modules)} modules",
        f"{plan.rows} rows, {plan.tokens:,} tokens, {share:.0%} with loss; "
        f"{plan.truncated_rows} cut; dropped: {dropped or 'none'}",
    ]
    lines += [f"{name}: {clean_line(reason)}" for name, reason in plan.reasons.items()]
    return "\n".join(f"  {line}" for line in lines)


def _width() -> int:
    return shutil.get_terminal_size().columns
