"""One run, live: the only screen that reads a run's files, and reads nothing else."""

import time
from collections import deque
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from engine import stretch
from engine.rundir import RunDir, State
from engine.tail import Tail
from workbench import foreseen, run_facts, wording
from workbench.foreseen import Foreseen
from workbench.plain import clean_line, clean_path
from workbench.state import RunState
from workbench.widgets.chart import Chart
from workbench.widgets.facts import Facts
from workbench.widgets.keyline import KeyLine
from workbench.widgets.logtail import LogTail
from workbench.widgets.notices import Notices
from workbench.widgets.panes import Panes
from workbench.widgets.samples import Samples
from workbench.widgets.standing import Standing
from workbench.widgets.titlebar import TitleBar
from workbench.widgets.toosmall import TooSmall

_READ_EVERY_S = 0.1
_TELL_EVERY_S, _TELL_LATE_S = 0.25, 1.0
"""While most of a long run is still to be read, drawing what is known would only hold it up."""
_LOOK_EVERY_S = 1.0
"""How often to ask whether the engine still lives."""
_LOG_LINES = 400
_PANES = ("charts", "samples", "figures", "log", "memory")
_INKS = {"running": "accent", "starting": "accent", "done": "good", "stopped": "good"}


class RunScreen(Screen[None]):
    """Follows a run from its first event; what it asks of the engine goes through `ask`."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "Stop", id="run-stop", tooltip="Save and end the run, once confirmed"),
        Binding("s", "save", "Save now", id="run-save", tooltip="Checkpoint after this step"),
        Binding("g", "sample", "Sample now", id="run-sample", tooltip="Answer the prompts now"),
        *(
            Binding(str(number), f"pane({number - 1})", name, show=False, tooltip=f"Show {name}")
            for number, name in enumerate(_PANES, 1)
        ),
        Binding("escape", "leave", "Back", id="run-leave", tooltip="Back; the run goes on"),
    ]

    class Arrived(Message):
        """What the run told since, folded; the latest holds all of it."""

        def __init__(
            self, run: RunState, state: State, log: tuple[str, ...], forecast: Foreseen
        ) -> None:
            super().__init__()
            self.run, self.state, self.log, self.forecast = run, state, log, forecast

        def can_replace(self, message: Message) -> bool:
            """A later one makes an earlier one needless."""
            return isinstance(message, RunScreen.Arrived)

    class StopWanted(Message):
        """The user wants to end the run."""

        def __init__(self, run: RunDir) -> None:
            super().__init__()
            self.run = run

    def __init__(self, run: RunDir, *, is_ascii: bool = False) -> None:
        super().__init__()
        self.run = run
        self.latest = RunScreen.Arrived(RunState(), State("starting"), (), Foreseen())
        self._is_ascii = is_ascii

    def compose(self) -> ComposeResult:
        """All panes; the style sheet shows one of them where there is no room for more."""
        yield TooSmall()
        yield TitleBar("run")
        yield Standing(is_ascii=self._is_ascii)
        yield Notices()
        yield Panes(_PANES)
        with Horizontal(id="charts"):
            yield Chart("loss", is_ascii=self._is_ascii, id="loss")
            yield Chart("token_accuracy", wording.share, is_ascii=self._is_ascii, id="accuracy")
        with Horizontal(id="figures"):
            yield Chart("rss_gib", "{:.2f}".format, is_ascii=self._is_ascii, id="memory")
            yield Facts(id="step")
            yield Facts(id="plan")
        yield Samples(id="samples")
        yield LogTail(id="log")
        yield KeyLine()

    def on_mount(self) -> None:
        """Name the panes and begin to follow."""
        for id, title in _TITLES.items():
            self.query_one(f"#{id}").border_title = title
        self.action_pane(0)
        self._show(self.latest)
        self._follow()

    @work(thread=True, group="follow")
    def _follow(self) -> None:
        """Read and fold in a thread; at most four messages a second, with all that is known."""
        worker = get_current_worker()
        told, log = Tail(self.run.events), Tail(self.run.log)
        run, lines, state = RunState(), deque[str](maxlen=_LOG_LINES), self.run.state()
        forecast = foreseen.read(self.run)
        sent_at = looked_at = 0.0
        is_new = True
        while not worker.is_cancelled:
            batch, logged = told.read_new(), log.read_new()
            run = run.fold(stretch.read(batch))
            lines.extend(line.decode("utf-8", "replace") for line in logged)
            is_new = is_new or bool(batch or logged)
            now = time.monotonic()
            if run.is_ended or now - looked_at >= _LOOK_EVERY_S:
                known, looked_at = state, now
                state = self.run.state()
                is_new = is_new or state != known
            if is_new and now - sent_at >= (_TELL_LATE_S if told.is_behind else _TELL_EVERY_S):
                self.post_message(self.Arrived(run, state, tuple(lines), forecast))
                is_new, sent_at = False, now
            if not (is_new or batch or logged or state.is_alive):
                return
            if not batch:
                time.sleep(_READ_EVERY_S)

    def on_run_screen_arrived(self, arrived: Arrived) -> None:
        """Draw what came."""
        self.latest = arrived
        with self.app.batch_update():
            self._show(arrived)
        self.refresh_bindings()

    def _show(self, arrived: Arrived) -> None:
        run, state = arrived.run, arrived.state
        total_steps = run.plan.total_steps if run.plan else None
        ink = _INKS.get(state.name, "bad")
        self.query_one(TitleBar).show(clean_line(self.run.name), (state.name, ink))
        self.query_one(Standing).show(run, state, clean_path(self.run.path))
        self.query_one(Notices).show(run.warnings)
        self._choose_memory(run, foreseen.beside(arrived.forecast, run.memory))
        for chart in self.query(Chart):
            chart.show(run.steps, total_steps)
        self.query_one("#step", Facts).show(run_facts.of_last_step(run))
        plan = run_facts.of_plan(run.plan) if run.plan else [("", "no plan yet", "dim")]
        self.query_one("#plan", Facts).show(plan)
        self.query_one(Samples).show(run.last_samples)
        self.query_one(LogTail).show(arrived.log)

    def _choose_memory(self, run: RunState, forecast: Foreseen) -> None:
        """The accelerator's memory where there is one, else that of the process."""
        chart = self.query_one("#memory", Chart)
        if run.last_step is not None and run.last_step.reserved_gib is not None:
            chart.choose("reserved_gib")
            chart.border_title = "memory reserved, GiB"
            chart.compare(forecast.reserved_gib, "forecast")
        else:
            chart.compare(forecast.host_gib, "forecast")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Wishes need an engine to hear them."""
        if action in {"stop", "save", "sample"} and not self.latest.state.is_alive:
            return None
        return True

    def action_stop(self) -> None:
        """Ask the user first: it can't be undone."""
        self.post_message(self.StopWanted(self.run))

    def action_save(self) -> None:
        """A checkpoint after this step."""
        self._ask("save", "A checkpoint follows this step")

    def action_sample(self) -> None:
        """Answers after this step."""
        self._ask("sample", "Answers follow this step")

    def _ask(self, want: str, promise: str) -> None:
        try:
            self.run.ask(want, "app")
        except OSError as error:
            self.notify(clean_line(error), title="Not asked", severity="error", markup=False)
        else:
            self.notify(promise, markup=False)

    def action_pane(self, index: int) -> None:
        """Show one pane where there is room for one only, else move to it."""
        for place, name in enumerate(_PANES):
            self.set_class(place == index, f"-{name}")
        self.query_one(Panes).choose(index)
        name = _PANES[index]
        target = {"figures": "#step", "charts": None, "memory": None}.get(name, f"#{name}")
        self.set_focus(self.query_one(target) if target else None)

    def action_leave(self) -> None:
        """Back to where it was opened from."""
        self.dismiss(None)


_TITLES = {
    "loss": "loss",
    "accuracy": "token accuracy",
    "memory": "memory of the process, GiB",
    "step": "last step",
    "plan": "plan",
    "samples": "samples",
    "log": "log",
}
