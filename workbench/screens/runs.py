"""All runs below the current folder, newest first, with their live state."""

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable
from textual.widgets.data_table import RowDoesNotExist

from engine import rundir
from engine.rundir import RunDir, State
from workbench import wording
from workbench.plain import clean_line
from workbench.widgets.keyline import KeyLine
from workbench.widgets.titlebar import TitleBar
from workbench.widgets.toosmall import TooSmall

_REFRESH_S = 2.0
_COLOURS = {
    "running": "primary",
    "starting": "primary",
    "done": "success",
    "stopped": "success",
    "failed": "error",
    "died": "error",
}


class RunsScreen(Screen[None]):
    """A table whose cells are changed in place."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []

    class Listed(Message):
        """The runs were looked at."""

        def __init__(self, states: list[tuple[RunDir, State]]) -> None:
            super().__init__()
            self.states = states

    class Chosen(Message):
        """The user wants to see a run."""

        def __init__(self, run: RunDir) -> None:
            super().__init__()
            self.run = run

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, RunDir] = {}
        self._ended: dict[str, State] = {}

    def compose(self) -> ComposeResult:
        """Title, table, keys."""
        yield TooSmall()
        yield TitleBar("runs")
        yield DataTable[Text](
            cursor_type="row", show_row_labels=False, cursor_foreground_priority="renderable"
        )
        yield KeyLine()

    def on_mount(self) -> None:
        """Name the columns and look at the runs, now and again."""
        table = self.query_one(DataTable)
        for name in ("run", "state", "how it ended"):
            table.add_column(name, key=name)
        self._look()
        self.set_interval(_REFRESH_S, self._look_again)

    def on_screen_resume(self) -> None:
        """Back from a run: its state may have changed."""
        self._look()

    def _look_again(self) -> None:
        if self.is_active:
            self._look()

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        """A run that ended is read once; it costs one lock probe from then on."""
        states = []
        for run in rundir.every():
            known = self._ended.get(run.name)
            state = run.state() if known is None or run.is_alive() else known
            if not state.is_alive:
                self._ended[run.name] = state
            states.append((run, state))
        self.post_message(self.Listed(states))

    def on_runs_screen_listed(self, listed: Listed) -> None:
        """Change the cells that differ."""
        table = self.query_one(DataTable)
        names = {run.name for run, _ in listed.states}
        for gone in self._runs.keys() - names:
            table.remove_row(gone)
        self._runs = {run.name: run for run, _ in listed.states}
        for run, state in listed.states:
            self._put(run.name, state)
        table.sort("run", key=lambda cell: cell.plain, reverse=True)
        num_alive = sum(state.is_alive for _, state in listed.states)
        self.query_one(TitleBar).show(_summary(len(names), num_alive))

    def _put(self, name: str, state: State) -> None:
        table = self.query_one(DataTable)
        colour = self.app.theme_variables[_COLOURS.get(state.name, "foreground")]
        cells = {
            "run": Text(clean_line(name)),
            "state": Text(state.name, colour),
            "how it ended": Text(clean_line(state.cause, 200)),
        }
        try:
            held = dict(zip(cells, table.get_row(name), strict=True))
        except RowDoesNotExist:
            table.add_row(*cells.values(), key=name)
            return
        for column, cell in cells.items():
            if held[column] != cell:
                table.update_cell(name, column, cell, update_width=True)

    def on_data_table_row_selected(self, selected: DataTable.RowSelected) -> None:
        """Enter on a run."""
        run = self._runs.get(str(selected.row_key.value))
        if run is not None:
            self.post_message(self.Chosen(run))


def _summary(num_runs: int, num_alive: int) -> str:
    if not num_runs:
        return "no run yet: n sets one up"
    return f"{wording.amount(num_runs, 'run')}, {num_alive} at work"
