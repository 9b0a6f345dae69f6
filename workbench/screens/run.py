"""One run, live: its charts, figures, answers and log, and the wishes that its engine hears."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Resize
from textual.worker import get_current_worker

from engine.events import Metric
from engine.hardware.monitor import HardwareMonitor, HardwareUsage
from engine.loss_bounds import sane_loss
from engine.run.rundir import RunDir, RunStatus, State, Want
from workbench.run_view import metrics, run_facts, use_it
from workbench.run_view.run_facts import MemoryForecast
from workbench.run_view.run_reader import RunReader, is_here
from workbench.run_view.run_state import RunState
from workbench.run_view.series import StepSeries
from workbench.screens.bench_screen import RunActions, pane_keys
from workbench.screens.charted import ChartedScreen
from workbench.text.layouts import fact_rows, log_rows
from workbench.text.sanitize import sanitize_line, sanitize_path
from workbench.widgets.answers import Samples
from workbench.widgets.canvas import Drawing, Pager
from workbench.widgets.chart import Chart, Curve
from workbench.widgets.key_names import key_name
from workbench.widgets.quiet_keys import quiet_key

_READ_EVERY_S = 0.1
_TELL_EVERY_S, _TELL_LATE_S = 0.25, 1.0
"""While most of a long run is still to be read, drawing what is known would only hold it up."""
_METER_EVERY_S = 2.0
_DRAW_EVERY_S = 1.0
"""A step moves a curve by less than a dot; steps that come in a bundle are drawn at once."""
_JUMP_STEPS, _JUMP_PARTS = 20, 100
_LOFTY = 52
_INKS = {"running": "accent", "starting": "accent", "done": "good", "stopped": "good"}
NO_ADAPTER = "It has left no adapter: that comes with its end"
_PROMISES = {
    "stop": "It stops after this step and saves",
    "save": "A checkpoint follows this step",
    "sample": "Answers follow this step",
    "mark": "This step is marked",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of the run; the newest holds all of it."""

    run: RunState = field(default_factory=RunState)
    state: State = field(default_factory=lambda: State(RunStatus.STARTING))
    log: tuple[str, ...] = ()
    forecast: MemoryForecast = field(default_factory=MemoryForecast)


class RunScreen(RunActions, ChartedScreen):
    """Follows a run from its first event; what it asks of the engine goes through `ask`."""

    NAME = "run"
    CSS_PATH = "run.tcss"
    PANES: ClassVar = {
        "charts": None, "samples": "#samples", "figures": "#step", "log": "#log", "memory": None,
    }  # fmt: skip
    PANE_TITLES: ClassVar = {
        "step": "last step", "plan": "plan", "samples": "samples", "log": "log",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop", id="run-stop", tooltip="Save and end the run, once confirmed"),
        Binding("s", "ask('save')", "Save now", id="run-save", tooltip="Save after this step"),
        Binding("g", "ask('sample')", "Sample now", id="run-sample", tooltip="Answer prompts now"),
        Binding("m", "ask('mark')", "Mark", id="run-mark", tooltip="Mark this step on the charts"),
        Binding("t", "play", "Talk", id="run-play", tooltip="Playground: base and adapter"),
        Binding(
            "i",
            "use_it",
            "Use it",
            show=False,
            id="run-use-it",
            tooltip="How to load, merge and talk with its adapter",
        ),
        Binding("u", "resume", "Resume", id="run-resume", tooltip="Go on from the last checkpoint"),
        *pane_keys(PANES),
        quiet_key("run-pause", "p", "pause", "Pause", "Hold this view"),
        Binding("escape", "leave", "Back", id="run-leave", tooltip="Back; the run goes on"),
    ]

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self._run = run
        self.latest = self._newest = Snapshot()
        self._drawn_at_s = 0.0
        self._has_old_curves = False
        self._is_left = Event()
        self.is_held = False

    def compose_body(self) -> ComposeResult:
        """How it stands, charts, figures, answers, log."""
        yield Drawing(id="status")
        yield Drawing(id="usage")
        yield Pager(id="warnings")
        yield Drawing(id="panes")
        with Horizontal(id="charts"):
            yield Chart(metrics.LOSS, is_ascii=self.is_ascii, id="loss")
            yield Chart(metrics.TOKEN_ACCURACY, is_ascii=self.is_ascii, id="other")
        with Horizontal(id="more"):
            yield Chart(metrics.LEARNING_RATE, is_ascii=self.is_ascii)
            yield Chart(metrics.GRAD_NORM, is_ascii=self.is_ascii)
            yield Chart(metrics.TOKENS_PER_S, is_ascii=self.is_ascii)
        with Horizontal(id="figures"):
            yield Chart(metrics.RSS_GIB, is_ascii=self.is_ascii, id="memory")
            yield Pager(id="step")
            yield Pager(id="plan")
        yield Samples(is_ascii=self.is_ascii, id="samples")
        yield Pager(follows=True, id="log")

    def on_mount(self) -> None:
        """Begin to follow."""
        self._show(self.latest)
        self._show_curves()
        self.set_interval(_DRAW_EVERY_S, self._show_late_curves)
        self._follow()

    def on_resize(self, resized: Resize) -> None:
        """A lofty terminal has room for all charts."""
        self.set_class(resized.size.height >= _LOFTY, "-lofty")

    def on_unmount(self) -> None:
        """Nobody looks at the meters any more."""
        self._is_left.set()

    @property
    def run(self) -> RunDir:
        """The run that is shown."""
        return self._run

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the run's steps carry."""
        return metrics.of_run(self.latest.run)

    @work(thread=True, group="follow")
    def _follow(self) -> None:
        """Read and fold in a thread; at most four messages a second, with all that is known."""
        worker = get_current_worker()
        forecast = run_facts.forecast_of(self.run)
        watch = RunReader(self.run)
        sent_at, is_new = 0.0, True
        while not worker.is_cancelled:
            has_read = watch.read()
            is_new = is_new or has_read
            now = time.monotonic()
            pause_s = _TELL_LATE_S if watch.is_behind else _TELL_EVERY_S
            if is_new and now - sent_at >= pause_s:
                self._newest = Snapshot(watch.run, watch.state, watch.log, forecast)
                self.call_later(self._take)
                is_new, sent_at = False, now
            if not (is_new or has_read or watch.state.is_alive):
                return
            if not has_read:
                time.sleep(_READ_EVERY_S)

    def _take(self) -> None:
        """Draw what came; where several calls wait, the first one draws all of it."""
        before, newest = self.latest, self._newest
        if newest is before:
            return
        self.latest = newest
        if self.is_held:
            self._show_title()
        else:
            self._draw(before)
        if newest.state != before.state or newest.run.checkpoints != before.run.checkpoints:
            self.refresh_bindings()
        was_seen = before.run.hello is not None and before.state.is_alive
        if was_seen and newest.state.name == RunStatus.DONE:
            use, talk = (key_name(self.app, type(self), id) for id in ("run-use-it", "run-play"))
            how = f"{use} says how to use it, {talk} talks with it"
            self.notify(how, title="Trained", markup=False)
        hello = newest.run.hello
        if hello and not before.run.hello and newest.state.is_alive and is_here(hello):
            monitor = HardwareMonitor(self.run.path, hello.pid)
            Thread(target=self._measure, args=(monitor,), daemon=True).start()

    def _draw(self, before: Snapshot) -> None:
        with self.app.batch_update():
            self._show(self.latest)
            is_calm = before.state.is_alive and self.latest.state.is_alive
            is_calm = is_calm and before.run.marks == self.latest.run.marks
            is_due = time.monotonic() - self._drawn_at_s >= _DRAW_EVERY_S
            if is_due or not is_calm or self._has_jumped(self.latest.run.steps):
                self._show_curves()
            else:
                self._has_old_curves = True

    def _has_jumped(self, steps: StepSeries) -> bool:
        """Whether curves would be seen to lag behind."""
        extent = self.turning.extent
        return steps.last_step - extent.last_step > max(_JUMP_STEPS, extent.end // _JUMP_PARTS)

    def _measure(self, monitor: HardwareMonitor) -> None:
        """Read the meters as long as the run lives and somebody looks."""
        while self.latest.state.is_alive and not self._is_left.is_set():
            try:
                self.call_later(self._show_usage, monitor.read())
            except OSError:
                break
            self._is_left.wait(_METER_EVERY_S)
        self.call_later(self._show_usage, None)

    def _show_usage(self, usage: HardwareUsage | None) -> None:
        """How busy the machine is; None once that does not matter any more."""
        self.query_one("#usage", Drawing).show(
            lambda width, _: [run_facts.usage_row(usage, width)] if usage else []
        )

    def _show(self, newest: Snapshot) -> None:
        run, state = newest.run, newest.state
        self._show_title()
        place = sanitize_path(self.run.path)
        self.query_one("#status", Drawing).show(
            lambda width, _: run_facts.status_rows(run, state, place, width, is_ascii=self.is_ascii)
        )
        warnings = self.query_one("#warnings", Pager)
        warnings.set_class(bool(run.warnings), "-some")
        warnings.show_lines(partial(run_facts.warning_rows, run.warnings, state.is_alive))
        self._choose_memory(run, run_facts.forecast_beside(newest.forecast, run.memory))
        step, plan = run_facts.of_last_step(run), run_facts.of_plan(run.plan)
        self.query_one("#step", Pager).show_lines(partial(fact_rows, step))
        self.query_one("#plan", Pager).show_lines(partial(fact_rows, plan))
        self.query_one(Samples).show(run.samples)
        self.query_one("#log", Pager).show_lines(partial(log_rows, newest.log))

    def _show_title(self) -> None:
        state = self.latest.state.name
        words = f"{state}, view held" if self.is_held else state
        self.set_subject(sanitize_line(self.run.name), (words, _INKS.get(state, "bad")))

    def _show_late_curves(self) -> None:
        if self._has_old_curves:
            self._show_curves()

    def _show_curves(self) -> None:
        run = self.latest.run
        if self.is_held:
            return
        self._has_old_curves, self._drawn_at_s = False, time.monotonic()
        if run.plan is not None:
            sane = partial(sane_loss, vocab_size=run.plan.vocab_size)
            self.query_one("#loss", Chart).bound(("token_accuracy", sane))
        total_steps = run.plan.total_steps if run.plan else None
        for chart in self.query(Chart):
            chart.show((Curve(run.steps),), total_steps, run.marks)

    def _choose_memory(self, run: RunState, forecast: MemoryForecast) -> None:
        """The accelerator's memory where there is one, else that of the process."""
        chart = self.query_one("#memory", Chart)
        if run.last_step is not None and run.last_step.metric("reserved_gib") is not None:
            chart.choose(metrics.RESERVED_GIB)
            chart.compare(forecast.reserved_gib, "forecast")
        else:
            chart.compare(forecast.host_gib, "forecast")

    def disabled_reason(self, action: str) -> str:
        """Wishes need an engine to hear them."""
        if action == "use_it":
            return "" if use_it.program(self.run) else NO_ADAPTER
        if action in {"stop", "ask"}:
            return "" if self.latest.state.is_alive else "The run is not at work"
        return self.run_disabled_reason(action, self.latest.state)

    def action_use_it(self) -> None:
        """Over the run: what its end says without the app."""
        from workbench.screens.dialogs import UseItScreen

        lines = use_it.use_it(self.run, self.latest.run.warnings)
        self.app.push_screen(UseItScreen(lines, use_it.program(self.run)))

    def action_stop(self) -> None:
        """Ask the user first: it can't be undone."""
        from workbench.screens.dialogs import ask

        detail = f"{sanitize_line(self.run.name)} ends after this step; its adapter is saved."
        stop = partial(self.action_ask, "stop")
        ask(self.app, "Stop this run?", detail, ("stop", "go on"), stop)

    def action_ask(self, want: str) -> None:
        """Tell the engine a wish; it hears it after this step."""
        try:
            self.run.ask(Want(want), "app")
        except OSError as error:
            self.notify(sanitize_line(error), title="Not asked", severity="error", markup=False)
        else:
            self.notify(_PROMISES[want], markup=False)

    def action_pause(self) -> None:
        """Hold what is shown, or go on with what came since; the run goes on either way."""
        self.is_held = not self.is_held
        self._show_title()
        if not self.is_held:
            self._draw(Snapshot())
