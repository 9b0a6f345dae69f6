"""A run in words: JSON lines, one line per step, or a progress line; and a page at its end."""

import shutil
import sys
from collections.abc import Sequence

from engine import events
from engine.events import Metric
from engine.run.rundir import RunDir
from workbench.commands.status_line import StatusLine
from workbench.run_view import metrics, run_facts, use_it
from workbench.run_view.run_state import RunState
from workbench.text import format
from workbench.text.layouts import fact_rows
from workbench.text.sanitize import harmless_json, sanitize, sanitize_line
from workbench.text.styled import UNBROKEN, beside, plain, wrap
from workbench.text.terminal import prints_utf8

_BAR_CELLS = 24
_CHART_ROWS = 12
_MAX_WIDTH = 110


class Json:
    """The events as they stand in the run, on stdout; notes on stderr.

    Characters that would steer a terminal are told by JSON's escapes.
    """

    def show(self, lines: list[bytes], batch: list[events.Event]) -> None:
        """Pass the lines on."""
        for line in lines:
            sys.stdout.buffer.write(harmless_json(line) + b"\n")
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Narrate."""
        print(text, file=sys.stderr, flush=True)


class Lines:
    """One line per event, for logs and pipes."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.state = RunState()

    def show(self, lines: list[bytes], batch: list[events.Event]) -> None:
        """Print what is new."""
        for event in batch:
            self.state = self.state.fold([event])
            self.tell(event)

    def tell(self, event: events.Event) -> None:
        """Print one event, if it says something to a person."""
        text = sentence(event, self.state)
        if text:
            self.note(text)
        if isinstance(event, events.Done):
            self.note(final_page(self.run, self.state, shutil.get_terminal_size().columns))

    def note(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)


class ProgressLine(Lines):
    """Steps on one line that is drawn again; everything else above it."""

    def __init__(self, run: RunDir) -> None:
        super().__init__(run)
        self._status = StatusLine(sys.stdout)

    def show(self, lines: list[bytes], batch: list[events.Event]) -> None:
        """Print what is no step, then the progress of the last one."""
        for event in batch:
            self.state = self.state.fold([event])
            if not isinstance(event, events.Step):
                self.tell(event)
        if batch and isinstance(batch[-1], events.Step):
            self._status.show(progress(self.state))

    def note(self, text: str) -> None:
        """Print a line below the progress."""
        self._status.keep()
        print(text, flush=True)


def sentence(event: events.Event, state: RunState) -> str:
    """An event in words; empty where a person needs none."""
    match event:
        case events.Hello():
            return f"engine {event.version} on {sanitize_line(event.host)}, process {event.pid}"
        case events.Phase():
            return f"{event.name}: {sanitize_line(event.detail)}"
        case events.Plan():
            return _plan(event)
        case events.Step():
            return progress(state)
        case events.Memory():
            return f"memory after step {event.step}: {run_facts.compared(event)}"
        case events.Sample():
            answers = f"base: {sanitize_line(event.base)} | adapter: {sanitize_line(event.adapter)}"
            return f"step {event.step}: {sanitize_line(event.prompt)}\n  {answers}"
        case events.Mark():
            return f"step {event.step} is marked"
        case events.Checkpoint():
            return f"checkpoint: {sanitize_line(event.path)}"
        case events.Resumed():
            return _resumed(event)
        case events.Warned():
            return f"warning: {sanitize_line(event.message)}. {sanitize_line(event.fix)}"
        case events.Failed():
            error, hint = sanitize_line(event.error), sanitize_line(event.hint)
            log = f"log: {sanitize_line(event.log)} in the run"
            return f"failed while {event.phase}: {error}\n  {hint}\n  {log}"
    return ""


def _resumed(event: events.Resumed) -> str:
    of = f" of {event.parent}" if event.parent else ""
    rows = [f"goes on after step {event.step}{of}, {event.exactness}"]
    rows += [f"  not from {name}: {reason}" for name, reason in event.rejected.items()]
    return "\n".join(map(sanitize_line, rows))


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
    reasons = [(name, reason, "") for name, reason in plan.reasons.items()]
    rows = fact_rows([*run_facts.of_plan(plan), *reasons], UNBROKEN)
    return "\n".join(f"  {plain(row)}" for row in rows)


def final_page(run: RunDir, state: RunState, width: int) -> str:
    """The last page: loss curve, answers side by side, figures, and what to do with the adapter.

    All but what is to be copied is at most `width` columns wide.
    """
    width = min(width, _MAX_WIDTH)
    use = "\n".join(map(sanitize, use_it.use_it(run, state.warnings)))
    parts = [chart(state, width), side_by_side(state, width), figures(run, state), use]
    return "\n\n".join(part for part in parts if part)


def chart(state: RunState, width: int) -> str:
    """Loss over steps; empty for a run too short to draw, or where braille can't be printed."""
    means = zip(*state.steps.means("loss"), strict=True)
    points = [(step, loss) for step, loss in means if loss == loss]
    if len(points) < 3 or not prints_utf8():
        return ""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, _CHART_ROWS)
    plotext.title("loss per token")
    plotext.plot(*zip(*points, strict=True), marker="braille")
    return str(plotext.uncolorize(plotext.build())).rstrip()


def side_by_side(state: RunState, width: int) -> str:
    """The latest answers of base and adapter in two columns, prompt by prompt."""
    column = max(20, (width - 3) // 2)
    lines = [f"{'base':<{column}} | adapter", f"{'-' * column}-+-{'-' * column}"]
    for sample in state.last_samples:
        base, adapter = (
            sanitize_line(text) or "(nothing)" for text in (sample.base, sample.adapter)
        )
        lines.append(f"> {sanitize_line(sample.prompt)}")
        left, right = ([[(line, "")] for line in wrap(text, column)] for text in (base, adapter))
        lines += [plain(row).rstrip() for row in beside(left, right, column, (" | ", ""))]
    return "\n".join(lines) if state.last_samples else ""


def figures(run: RunDir, state: RunState) -> str:
    """What was measured, and where the adapter lies."""
    rows = run_facts.done_rows(state.done, str(run.path), UNBROKEN) if state.done else []
    return "\n".join(sanitize(plain(row)).rstrip() for row in rows)
