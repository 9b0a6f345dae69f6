"""The app: screens, keys that work on all of them, and who follows whom; no logic.

Screens that the first paint does not need are imported when they are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from engine.problems import Refusal
from workbench.patches.driver import TerminalApp
from workbench.screens.setup import SetupScreen
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.text import theme_setting
from workbench.text.sanitize import clean_line, clean_path
from workbench.text.terminal import draws_braille
from workbench.widgets.toosmall import MIN_HEIGHT, MIN_WIDTH

if TYPE_CHECKING:
    from engine.run.rundir import RunDir
    from workbench.screens.play_wanted import PlayWanted
    from workbench.screens.resume_wanted import ResumeWanted
    from workbench.screens.run import StopWanted
    from workbench.screens.runs import RunsScreen
    from workbench.screens.setup_messages import AttachWanted, PreviewWanted, Started

_WIDE, _TALL = 110, 34
_THEME = Theme(
    name="bench",
    dark=True,
    primary="#7cacf8",
    secondary="#a8c7fa",
    accent="#7cacf8",
    success="#81c995",
    warning="#fdd663",
    error="#f28b82",
    foreground="#d5d9e0",
    background="#14171c",
    surface="#14171c",
    panel="#232831",
)


class BenchApp(TerminalApp):
    """The workbench. Ending it ends no run."""

    TITLE = "gemma-bench"
    CSS_PATH = Path(__file__).with_name("bench.tcss")
    DEFAULT_MODE = "setup"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-slim"),
        (MIN_WIDTH, "-narrow"),
        (_WIDE, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-flat"),
        (MIN_HEIGHT, "-short"),
        (_TALL, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "show_setup", "New run", id="app-setup", tooltip="Set up a new run"),
        Binding("r", "show_runs", "Runs", id="app-runs", tooltip="All runs of this folder"),
        Binding("f1,question_mark", "help", "Help", id="app-help", tooltip="Show all keys"),
        Binding(
            "ctrl+o", "jump", "Jump", show=False, id="app-jump", tooltip="To a pane, by letter"
        ),
        Binding("q", "quit", "Quit", id="app-quit", tooltip="Leave; runs go on"),
    ]

    def __init__(
        self,
        attach: RunDir | None = None,
        setup: Callable[[], SetupScreen] | None = None,
        warm: PrestartedPreview | None = None,
    ) -> None:
        if attach is not None:
            self.DEFAULT_MODE = "runs"  # type: ignore[misc]
        super().__init__()
        self.warm = warm or PrestartedPreview()
        self._first = attach
        self._opened: dict[str, RunDir] = {}
        self.animation_level = "none"
        self.register_theme(_THEME)
        for name in [name for name in self.available_themes if name.startswith("ansi")]:
            self.unregister_theme(name)  # their colours are the terminal's, so inks can't be mixed
        theme = theme_setting.theme()
        self.theme = theme if theme in self.available_themes else _THEME.name
        self.add_mode("setup", setup or _setup_screen)
        self.add_mode("runs", _runs_screen)

    def on_mount(self) -> None:
        """Show the run to attach to, over the table of runs; the setup stands otherwise."""
        self.theme_changed_signal.subscribe(
            self, lambda theme: theme_setting.keep_theme(theme.name)
        )
        if self._first is not None:
            self._open(self._first)

    def _open(self, run: RunDir) -> None:
        from workbench.screens.run import RunScreen

        self._opened[run.name] = run
        self.action_show_runs()
        self.push_screen(RunScreen(run, is_ascii=not draws_braille()))

    def _ask(
        self, question: str, detail: str, choices: tuple[str, str], then: Callable[[], Any]
    ) -> None:
        from workbench.screens.confirm import ConfirmScreen

        self.push_screen(
            ConfirmScreen(question, detail, *choices), lambda is_agreed: is_agreed and then()
        )

    def on_setup_screen_checked(self) -> None:
        """Start an engine for previews: the setup is painted, and one may be asked for next."""
        self.run_worker(self.warm.start, thread=True, group="warm")

    def on_setup_screen_preview_wanted(self, wanted: PreviewWanted) -> None:
        """Show the rows of a recipe."""
        from workbench.screens.preview import PreviewScreen
        from workbench.text.token_marks import TextStyle

        ink = TextStyle(not self.no_color, draws_braille())
        self.push_screen(PreviewScreen(wanted.name, wanted.recipe, self.warm, ink))

    def on_setup_screen_started(self, started: Started) -> None:
        """Watch the run that was started."""
        self.run_worker(self.warm.stop, thread=True, group="warm")
        self._open(started.run)

    def on_setup_screen_attach_wanted(self, wanted: AttachWanted) -> None:
        """Watch the run that is at work."""
        self._open(wanted.run)

    def on_runs_screen_chosen(self, chosen: RunsScreen.Chosen) -> None:
        """Watch a run of the table."""
        self._open(chosen.run)

    def on_play_wanted(self, wanted: PlayWanted) -> None:
        """Talk with a run that has a checkpoint."""
        from workbench.screens.playground import PlaygroundScreen

        self.push_screen(PlaygroundScreen(wanted.run))

    def on_resume_wanted(self, wanted: ResumeWanted) -> None:
        """Let a run go on, after reading all of a checkpoint to see that it is whole."""
        self._resume(wanted.run)

    @work(thread=True, group="resume", exclusive=True)
    def _resume(self, run: RunDir) -> None:
        from workbench import launch

        try:
            launch.resume(run)
        except (OSError, Refusal) as error:
            self.notify(clean_line(error), title="Not resumed", severity="error", markup=False)
        else:
            self.call_from_thread(self._open, run)

    def on_runs_screen_compare_wanted(self, wanted: RunsScreen.CompareWanted) -> None:
        """Show some runs beside each other."""
        from workbench.screens.compare import CompareScreen

        self.push_screen(CompareScreen(wanted.runs, is_ascii=not draws_braille()))

    def on_runs_screen_delete_wanted(self, wanted: RunsScreen.DeleteWanted) -> None:
        """Ask before a run is deleted, which can't be undone."""
        run = wanted.run
        detail = f"{clean_path(run.path)} goes with its adapter, checkpoints and log."
        self._ask("Delete this run?", detail, ("delete", "keep"), lambda: self._delete(run))

    @work(thread=True, group="delete")
    def _delete(self, run: RunDir) -> None:
        try:
            run.delete()
        except (OSError, Refusal) as error:
            self.notify(clean_line(error), title="Not deleted", severity="error", markup=False)
        self.call_from_thread(self._look_at_runs)

    def _look_at_runs(self) -> None:
        from workbench.screens.runs import RunsScreen

        if isinstance(self.screen, RunsScreen):
            self.screen.look()

    def on_run_screen_stop_wanted(self, wanted: StopWanted) -> None:
        """Ask before a run is stopped, which can't be undone."""

        from engine.run.rundir import Want

        def stop() -> None:
            wanted.run.ask(Want.STOP, "app")
            self.notify("It stops after this step and saves", markup=False)

        detail = f"{clean_line(wanted.run.name)} ends after this step; its adapter is saved."
        self._ask("Stop this run?", detail, ("stop", "go on"), stop)

    def action_show_setup(self) -> None:
        """Set up a new run."""
        self._show_alone("setup")

    def action_show_runs(self) -> None:
        """Show the table of runs."""
        self._show_alone("runs")

    def _show_alone(self, mode: str) -> None:
        """Show the screen of a mode, without those that lie on it."""
        self.switch_mode(mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """List the keys that can be used where the palette was opened, and the themes."""
        by_action = {active.binding.action: active for active in screen.active_bindings.values()}
        for active in by_action.values():
            binding, node = active.binding, active.node
            if active.enabled and binding.id and binding.tooltip:
                run = partial(self.run_action, binding.action, node)
                yield SystemCommand(binding.description, active.tooltip, run)
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)

    def action_jump(self) -> None:
        """Put letters over the panes, to jump to one."""
        from workbench.screens.jump import JumpScreen

        panes = [pane for pane in self.screen.focus_chain if pane.region]
        self.push_screen(JumpScreen(panes), lambda pane: pane and pane.focus())

    def action_help(self) -> None:
        """Show or hide the keys."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    async def action_quit(self) -> None:
        """Leave; where runs are at work, say first that they go on."""
        alive = self.alive_runs()
        if not alive or self.screen.is_modal:
            self.exit()
            return
        names = "\n".join(f"Come back with: {attach_command(run)}" for run in alive)
        question = "The run goes on without this window" if len(alive) == 1 else "The runs go on"
        self._ask(question, names, ("quit", "stay"), self.exit)

    def alive_runs(self) -> list[RunDir]:
        """List runs at work, below this folder or opened here; not one that said its last word."""
        from engine.run import runs

        by_name = {run.name: run for run in runs.every()} | self._opened
        return [run for run in by_name.values() if run.is_alive() and run.state().is_alive]


def _setup_screen() -> SetupScreen:
    return SetupScreen(is_ascii=not draws_braille())


def _runs_screen() -> Screen[Any]:
    from workbench.screens.runs import RunsScreen

    return RunsScreen()


def attach_command(run: RunDir) -> str:
    """Spell the command that follows a run again."""
    from engine.run.rundir import RUNS

    name = run.name if run.path.parent == RUNS else str(run.path)
    return f"gemma-bench attach {clean_line(name)}"


def run_app(attach: RunDir | None = None) -> int:
    """Run the app, on one run where it is given; its exit code."""
    app = BenchApp(attach)
    try:
        app.run()
    finally:
        app.warm.close()
    with suppress(OSError):
        for run in app.alive_runs():
            print(f"{clean_line(run.name)} goes on. Come back with: {attach_command(run)}")
    return app.return_code or 0
