"""All runs below the current folder with their live state: found, put in order, opened, deleted."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.widgets import DataTable

from engine.problems import Refusal
from engine.run import run_summary, runs
from engine.run.run_summary import RunSummary
from engine.run.rundir import RunDir, Want
from workbench.run_view import run_table
from workbench.run_view.run_table import Entry
from workbench.screens.bench_screen import BenchScreen, RunActions, bench, why_not_resumed
from workbench.text import text_table
from workbench.text.sanitize import sanitize_line, sanitize_path
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput
from workbench.widgets.quiet_keys import quiet_key

_REFRESH_S = 2.0
_FEWEST, _MOST = 2, 6
"""Runs that can be compared."""
_COLOURS = {
    "running": "primary",
    "starting": "primary",
    "done": "success",
    "stopped": "success",
    "failed": "error",
    "died": "error",
    "damaged": "error",
}


class RunsScreen(RunActions, BenchScreen):
    """A table whose cells are changed in place."""

    NAME = "runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs-mark", tooltip="Mark it for what comes next"),
        Binding("c", "compare", "Compare", id="runs-compare", tooltip="Compare the marked runs"),
        Binding("x", "stop", "Stop", id="runs-stop", tooltip="Stop the marked runs, or this one"),
        Binding("d,delete", "delete", "Delete", id="runs-delete", tooltip="Delete, once confirmed"),
        Binding("slash", "find", "Find", id="runs-find", tooltip="Show runs that hold some words"),
        Binding("o", "order", "Order", id="runs-order", tooltip="By age, name, state, and so on"),
        Binding("t", "play", "Talk", id="runs-play", tooltip="Playground: base and adapter"),
        Binding(
            "u", "resume", "Resume", id="runs-resume", tooltip="Go on from the last checkpoint"
        ),
        Binding("y", "copy", "Path", id="runs-copy", tooltip="Copy and show the run's folder"),
        quiet_key("runs-all", "escape", "forget_words", "", "Show all runs again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self._ended: dict[str, RunSummary] = {}
        self._marked: list[str] = []
        self._order = run_table.ORDERS[0]
        self._words = ""
        self._columns: list[str] = []

    def compose_body(self) -> ComposeResult:
        """What is searched for, and the table."""
        yield LineInput(placeholder="words that a run's line holds", id="words")
        yield DataTable[Text](
            cursor_type="row", show_row_labels=False, cursor_foreground_priority="renderable"
        )

    def on_mount(self) -> None:
        """Name the columns and look at the runs, now and again."""
        self.query_one(DataTable).focus()
        self.look()
        self.set_interval(_REFRESH_S, self._look_again)

    def on_screen_resume(self) -> None:
        """Back from a run: its state may have changed."""
        self.look()

    def _look_again(self) -> None:
        if self.is_active:
            self.look()

    @work(thread=True, exclusive=True, group="look")
    def look(self) -> None:
        """A run that ended is read once; it costs one lock probe from then on."""
        entries = []
        for run in runs.every():
            earlier = self._ended.get(run.name)
            summary = run_summary.summarize(run) if earlier is None or run.is_alive() else earlier
            if summary.state.is_alive:
                self._ended.pop(run.name, None)
            else:
                self._ended[run.name] = summary
            entries.append(Entry(run, summary))
        self.call_later(self._take, entries)

    def _take(self, entries: list[Entry]) -> None:
        self._entries = entries
        names = {entry.run.name for entry in self._entries}
        self._marked = [name for name in self._marked if name in names]
        self._draw()

    def _draw(self) -> None:
        """Change the cells that differ; lay all rows anew only where others are to be shown."""
        table = self.query_one(DataTable)
        shown = run_table.arranged(self._entries, self._words, self._order)
        names = [entry.run.name for entry in shown]
        selected = self.selected
        columns = self._columns_that_fit(shown)
        is_wide = columns != self._columns
        if is_wide or [str(row.key.value) for row in table.ordered_rows] != names:
            self._columns = columns
            table.clear(columns=True)
            for name in columns:
                table.add_column(name, key=name)
            for entry in shown:
                table.add_row(*self._cells(entry), key=entry.run.name)
            if selected is not None and selected.run.name in names:
                table.move_cursor(row=names.index(selected.run.name))
        for entry in shown:
            self._put(entry)
        setup_key = key_name(self.app, type(self.app), "app-setup")
        self.set_subject(run_table.summary(len(shown), self._entries, self._order, setup_key))
        self.refresh_bindings()

    def _columns_that_fit(self, shown: Sequence[Entry]) -> list[str]:
        """What there is room for of what any run has."""
        rows = [run_table.cells(entry, self._marked) for entry in shown or self._entries]
        width = self.query_one(DataTable).content_size.width - 2  # a blank at both ends
        fitting = text_table.columns_that_fit(run_table.COLUMNS, rows, width, run_table.SPARED)
        return [*fitting] or [*run_table.COLUMNS]

    def on_resize(self) -> None:
        """Another width has room for other columns."""
        if self._entries:
            self.call_after_refresh(self._draw)

    def _cells(self, entry: Entry) -> list[Text]:
        colour = self.app.theme_variables[_COLOURS[entry.glance.state.name]]
        cells = run_table.cells(entry, self._marked)
        return [
            Text(text, colour if name in {"", "state"} else "")
            for name, text in zip(run_table.COLUMNS, cells, strict=True)
            if name in self._columns
        ]

    def _put(self, entry: Entry) -> None:
        table, name = self.query_one(DataTable), entry.run.name
        old_cells = table.get_row(name)
        for column, old, new in zip(self._columns, old_cells, self._cells(entry), strict=True):
            if old != new:
                table.update_cell(name, column, new, update_width=True)

    @property
    def selected(self) -> Entry | None:
        """The run under the cursor; None where the table is empty."""
        table = self.query_one(DataTable)
        if not table.is_valid_row_index(table.cursor_row):
            return None
        name = str(table.ordered_rows[table.cursor_row].key.value)
        return next((entry for entry in self._entries if entry.run.name == name), None)

    @property
    def run(self) -> RunDir:
        """The run under the cursor; without one, no action that needs it is enabled."""
        assert self.selected is not None
        return self.selected.run

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done now."""
        if action == "forget_words":
            is_narrowed = self._words or self.has_class("-finding")
            return "" if is_narrowed else "All runs are shown"
        if action == "compare":
            is_few = _FEWEST <= len(self._marked) <= _MOST
            mark = key_name(self.app, type(self), "runs-mark")
            return "" if is_few else f"Mark {_FEWEST} to {_MOST} runs first, with {mark}"
        if action not in {"mark", "stop", "delete", "copy", "play", "resume"}:
            return ""
        if self.selected is None:
            return "There is no run to do that with"
        alive = [entry for entry in self._targets if entry.glance.state.is_alive]
        if action == "delete" and alive:
            return f"{_named(alive)} at work: stop {'it' if len(alive) == 1 else 'them'} first"
        if action == "stop" and not alive:
            return f"{_named(self._targets)} not at work"
        if action == "resume" and self._marked:
            return next(filter(None, map(_why_not_resumed, self._targets)), "")
        return self.run_disabled_reason(action, self.selected.glance.state)

    @property
    def _targets(self) -> list[Entry]:
        """The marked runs in the order of the marks; without a mark, the one under the cursor."""
        by_name = {entry.run.name: entry for entry in self._entries}
        marked = [by_name[name] for name in self._marked]
        return marked or ([self.selected] if self.selected else [])

    @on(DataTable.RowHighlighted)
    def _renew_keys(self) -> None:
        self.refresh_bindings()

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        bench(self.app).open_run(self.run)

    def action_mark(self) -> None:
        """Mark the run, or take its mark away."""
        name = self.run.name
        others = [other for other in self._marked if other != name]
        self._marked = others if name in self._marked else [*others, name]
        self._draw()

    def action_compare(self) -> None:
        """See the marked runs beside each other, in the order in which they were marked."""
        from workbench.screens.compare import CompareScreen

        by_name = {entry.run.name: entry.run for entry in self._entries}
        self.app.push_screen(CompareScreen([by_name[name] for name in self._marked]))

    def action_stop(self) -> None:
        """Ask the user first; each saves and ends after its step."""
        from workbench.screens.dialogs import ask

        runs = [entry.run for entry in self._targets if entry.glance.state.is_alive]
        question = f"Stop {_these(runs)}?"
        ask(self.app, question, _listed(runs), ("stop", "go on"), lambda: self._stop(runs))

    def _stop(self, runs: Sequence[RunDir]) -> None:
        for run in runs:
            try:
                run.ask(Want.STOP, "the app")
            except OSError as error:
                self._complain("Not stopped", error)

    def action_delete(self) -> None:
        """Ask the user first: it can't be undone."""
        from workbench.screens.dialogs import ask

        runs = [entry.run for entry in self._targets]
        detail = f"{_listed(runs)}\nwith adapters, checkpoints and logs"
        choices = ("delete", "keep")
        ask(self.app, f"Delete {_these(runs)}?", detail, choices, lambda: self._delete(runs))

    @work(thread=True, group="delete")
    def _delete(self, runs: Sequence[RunDir]) -> None:
        for run in runs:
            try:
                run.delete()
            except (OSError, Refusal) as error:
                self._complain("Not deleted", error)
        self.call_later(self.look)

    def action_resume(self) -> None:
        """Let the marked runs go on, or this one; of several none is shown."""
        if not self._marked:
            super().action_resume()
            return
        self._resume([entry.run for entry in self._targets])

    @work(thread=True, group="resume", exclusive=True)
    def _resume(self, runs: Sequence[RunDir]) -> None:
        from workbench import launch

        for run in runs:
            try:
                launch.resume(run)
            except (OSError, Refusal) as error:
                self._complain("Not resumed", error)
        self.call_later(self.look)

    def _complain(self, title: str, error: Exception) -> None:
        self.notify(sanitize_line(error), title=title, severity="error", markup=False)

    def action_copy(self) -> None:
        """The folder's path, on screen and in the clipboard of a terminal that takes it."""
        path = sanitize_path(self.run.path.resolve())
        self.app.copy_to_clipboard(path)
        self.notify(path, title="Copied", markup=False)

    def action_order(self) -> None:
        """The next order."""
        place = run_table.ORDERS.index(self._order) + 1
        self._order = run_table.ORDERS[place % len(run_table.ORDERS)]
        self._draw()

    def action_find(self) -> None:
        """Type words."""
        self.add_class("-finding")
        self.query_one(LineInput).focus()

    @on(LineInput.Changed)
    def _narrow(self, typed: LineInput.Changed) -> None:
        self._words = typed.value
        self._draw()

    @on(LineInput.Submitted)
    def _take_words(self) -> None:
        self.query_one(DataTable).focus()

    @on(DataTable.HeaderSelected)
    def _order_by(self, header: DataTable.HeaderSelected) -> None:
        """A click on a column's name puts the runs in the order of it, where there is one."""
        order = run_table.ORDER_OF_COLUMN.get(str(header.column_key.value))
        if order is not None:
            self._order = order
            self._draw()

    def on_click(self, click: Click) -> None:
        """Two clicks open the run; the first one chose it."""
        is_on_row = isinstance(click.widget, DataTable) and click.style.meta.get("row", -1) >= 0
        if click.chain == 2 and is_on_row:
            self._open()

    def action_forget_words(self) -> None:
        """Show all runs again."""
        self._forget_words()

    @on(LineInput.Left)
    def _forget_words(self) -> None:
        self.query_one(LineInput).value = ""
        self.remove_class("-finding")
        self.query_one(DataTable).focus()


def _these(runs: Sequence[RunDir]) -> str:
    return "this run" if len(runs) == 1 else f"these {len(runs)} runs"


def _listed(runs: Sequence[RunDir]) -> str:
    return "\n".join(sanitize_path(run.path) for run in runs)


def _why_not_resumed(entry: Entry) -> str:
    reason = why_not_resumed(entry.run, entry.glance.state)
    return f"{sanitize_line(entry.run.name)}: {reason}" if reason else ""


def _named(entries: Sequence[Entry]) -> str:
    if len(entries) == 1:
        return f"{sanitize_line(entries[0].run.name)} is"
    return f"{len(entries)} of the marked runs are"
