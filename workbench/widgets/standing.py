"""Where a run stands: its phase and progress while it lives, then how it ended."""

from engine.events import Done, Failed
from engine.run.rundir import RunStatus, State
from workbench.run_view.run_state import RunState
from workbench.text import format
from workbench.widgets.canvas import Canvas, Row, Span
from workbench.widgets.wrap import wrap

_MIN_BAR, _MAX_ROWS = 8, 5
_LEFT_ROOM = len("1:00:00 left")
"""Room kept for what changes, so that the bar stands still."""


class RunStatusBar(Canvas):
    """Two rows, up to five where there is an ending to tell."""

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._run = RunState()
        self._state = State(RunStatus.STARTING)
        self._place = ""

    def show(self, run: RunState, state: State, place: str) -> None:
        """Show how the run stands; `place` is the folder that its paths are relative to."""
        self._run, self._state, self._place = run, state, place
        self._take_rows()
        self.redraw()

    def on_resize(self) -> None:
        """A new width may need other rows."""
        self._take_rows()

    def _take_rows(self) -> None:
        rows = len(self.drawn(self.content_size.width or 80, _MAX_ROWS))
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows

    def drawn(self, width: int, height: int) -> list[Row]:
        """A line of words and a bar, or an ending."""
        if self._run.done is not None:
            rows = self._drawn_done(self._run.done, width)
        elif self._run.failed is not None:
            rows = self._drawn_failed(self._run.failed, width)
        elif self._state.name in {"died", "damaged"}:
            rows = self._drawn_died(width)
        else:
            rows = [self._drawn_phase(), self._drawn_progress(width)]
        return rows[:_MAX_ROWS]

    def _drawn_phase(self) -> Row:
        phase = self._run.phase
        if self._run.hello is None:
            return [("starting", "accent"), ("  the engine has not spoken yet", "dim")]
        if phase is None:
            return [("starting", "accent"), ("  the engine loads its libraries", "dim")]
        return [(phase.name, "accent"), (f"  {phase.detail}", "dim")]

    def _drawn_progress(self, width: int) -> Row:
        ratio = self._run.progress_ratio
        if ratio is None or self._run.plan is None:
            return []
        last, total = self._run.last_step, self._run.plan.total_steps
        eta = self._run.eta_s
        left = f"{format.duration(eta)} left" if eta is not None else ""
        done = f"{last.step if last else 0} of {total} steps"
        text = f"{ratio:<4.0%}   {done:<{2 * len(str(total)) + 10}}   {left:<{_LEFT_ROOM}}  "
        return [(text, ""), *self._bar(ratio, max(_MIN_BAR, width - len(text)))]

    def _bar(self, ratio: float, cells: int) -> list[Span]:
        full, empty = ("#", "-") if self._is_ascii else ("━", "━")
        filled = round(ratio * cells)
        return [(full * filled, "accent"), (empty * (cells - filled), "band")]

    def _drawn_done(self, done: Done, width: int) -> list[Row]:
        mark = "stopped and saved" if done.stopped_by else "done"
        steps = f"{format.count(done.steps)} steps in {format.duration(done.elapsed_s)}"
        figures = [
            ("loss", format.figure(done.loss)),
            ("token accuracy", format.share(done.token_accuracy)),
        ]
        exact = [
            (name, format.share(share))
            for name, share in (
                ("trained facts", done.trained_exact),
                ("held-out wordings", done.heldout_exact),
                ("base model", done.base_exact),
            )
            if share is not None
        ]
        by = f", asked by {done.stopped_by}" if done.stopped_by else ""
        rows: list[Row] = [[(mark, "good"), (f"  {steps}{by}", "")], _pairs(figures)]
        rows += [_pairs(exact)] if exact else []
        return [*rows, *_labelled("adapter", f"{self._place}/{done.adapter}", width)]

    def _drawn_failed(self, failed: Failed, width: int) -> list[Row]:
        error = wrap(f"while {failed.phase}: {failed.error}", width - 8)[:2]
        rows: list[Row] = [[("failed", "bad"), (f"  {error[0]}", "")]]
        rows += [[("        ", ""), (line, "")] for line in error[1:]]
        rows += _labelled("try", failed.hint, width)[:2] if failed.hint else []
        return [*rows, *_labelled("log", f"{self._place}/{failed.log}", width)]

    def _drawn_died(self, width: int) -> list[Row]:
        last = self._run.last_step
        after = f"after step {last.step}" if last else "before its first step"
        rows: list[Row] = [[(self._state.name, "bad"), (f"  {after}", "")]]
        rows += _labelled("cause", self._state.cause, width)[:2]
        return [*rows, *_labelled("log", "its last lines stand below", width)]


def _pairs(pairs: list[tuple[str, str]]) -> Row:
    spans: list[Span] = []
    for name, value in pairs:
        spans += [(f"{name} ", "dim"), (value, "strong"), ("   ", "")]
    return spans


def _labelled(name: str, text: str, width: int) -> list[Row]:
    first, *rest = wrap(text, width - 8)
    return [[(f"{name:<8}", "dim"), (first, "")], *([(" " * 8, ""), (line, "")] for line in rest)]
