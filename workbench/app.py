"""The app: screens, keys that work on all of them, and who follows whom; no logic.

Screens that the first paint does not need are imported when they are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from workbench.patches.driver import TerminalApp
from workbench.screens.setup import SetupScreen
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.text import saved_theme, settings_file
from workbench.text.sanitize import sanitize_line, sanitize_path
from workbench.widgets.frame import MIN_HEIGHT, MIN_WIDTH
from workbench.widgets.quiet_keys import quiet_key

if TYPE_CHECKING:
    from textual.command import Provider

    from engine.run.rundir import RunDir

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
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {lambda: _actions()}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "show_setup", "New run", id="app-setup", tooltip="Set up a new run"),
        Binding("r", "show_runs", "Runs", id="app-runs", tooltip="All runs of this folder"),
        Binding("f1,question_mark", "help", "Help", id="app-help", tooltip="Show all keys"),
        quiet_key("app-jump", "ctrl+o", "jump", "Jump", "To a pane, by letter"),
        quiet_key("app-find", "ctrl+p,colon", "command_palette", "Find", "Find any action"),
        Binding("q", "quit", "Quit", id="app-quit", tooltip="Leave; runs go on"),
        quiet_key("app-interrupt", "ctrl+c", "quit", "", "Leave; runs go on"),
        quiet_key("app-suspend", "ctrl+z", "suspend_process", "", "To the shell"),
    ]

    def __init__(
        self,
        attach: RunDir | None = None,
        setup: Callable[[PrestartedPreview], SetupScreen] = SetupScreen,
        preview: PrestartedPreview | None = None,
    ) -> None:
        if attach is not None:
            self.DEFAULT_MODE = "runs"  # type: ignore[misc]
        super().__init__()
        self.preview = preview or PrestartedPreview()
        self._first = attach
        self.animation_level = "none"
        self.register_theme(_THEME)
        for name in [name for name in self.available_themes if name.startswith("ansi")]:
            self.unregister_theme(name)  # their colours are the terminal's, so inks can't be mixed
        self._settings = settings_file.read(self.available_themes, _checked_keymap)
        themes = (self._settings.theme, saved_theme.read(), _THEME.name)
        self.theme = next(theme for theme in themes if theme in self.available_themes)
        self.set_keymap(dict(self._settings.keymap))
        self.add_mode("setup", partial(setup, self.preview))
        self.add_mode("runs", _runs_screen)

    def on_mount(self) -> None:
        """Show the run to attach to, over the table of runs; the setup stands otherwise."""
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        if self._first is not None:
            self.open_run(self._first)
        if self._settings.problems:
            from workbench.screens.dialogs import NoticeScreen

            title = f"Not all of {sanitize_path(settings_file.path())} can be used"
            self.push_screen(NoticeScreen(title, self._settings.problems))

    def _keep_theme(self, theme: Theme) -> None:
        """For the next start, unless the settings name one."""
        named = self._settings.theme
        if not named:
            saved_theme.save(theme.name)
        elif theme.name != named:
            place = sanitize_path(settings_file.path())
            self.notify(f"{place} has {named} back at the next start", markup=False)

    def open_run(self, run: RunDir) -> None:
        """Watch a run, over the table of runs."""
        from workbench.screens.run import RunScreen

        self._show_alone("runs")
        self.push_screen(RunScreen(run))

    def play(self, run: RunDir) -> None:
        """Talk with a run that has a checkpoint."""
        from workbench.screens.playground import PlaygroundScreen

        self.push_screen(PlaygroundScreen(run))

    def _show_alone(self, mode: str) -> None:
        """Show the screen of a mode, without those that lie on it."""
        self.switch_mode(mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def action_show_setup(self) -> None:
        """Set up a new run."""
        self._show_alone("setup")

    def action_show_runs(self) -> None:
        """Show the table of runs."""
        self._show_alone("runs")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """List the keys that can be used where the palette was opened, and the themes."""
        by_action = {active.binding.action: active for active in screen.active_bindings.values()}
        for active in by_action.values():
            binding, node = active.binding, active.node
            if active.enabled and binding.id and binding.tooltip:
                run = partial(self.run_action, binding.action, node)
                yield SystemCommand(binding.description, active.tooltip, run)
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)

    def why_idle(self, key: str) -> str:
        """Where a key does something, and how to see the keys of here."""
        from workbench.screens import keymap

        uses = keymap.elsewhere(BenchApp, self._settings.keymap, key, self.screen)
        keys = {
            one.binding.action: (self.get_key_display(one.binding), one.binding.description)
            for one in reversed(self.screen.active_bindings.values())
            if one.binding.show
        }
        others = ", ".join(f"{shown}: {does}" for shown, does in keys.values())
        advice = f"{keys['help'][0]} lists the keys of this screen" if "help" in keys else others
        name = sanitize_line(self.get_key_display(Binding(key, "", "")))
        return f"{name} does nothing here{f' ({uses})' if uses else ''}. {advice}"

    def action_jump(self) -> None:
        """Put letters over the panes, to jump to one."""
        from workbench.screens.dialogs import JumpScreen

        panes = [pane for pane in self.screen.focus_chain if pane.region]
        self.push_screen(JumpScreen(panes), lambda pane: pane and pane.focus())

    def action_help(self) -> None:
        """Show all keys that work where one is."""
        from workbench.screens import help

        self.push_screen(help.HelpScreen(help.of_screen(self.screen)))

    async def action_quit(self) -> None:
        """Leave; where runs are at work, say first that they go on."""
        alive = self.alive_runs()
        if not alive or self.screen.is_modal:
            self.exit()
            return
        from workbench.screens.dialogs import ask

        names = "\n".join(f"Come back with: {attach_command(run)}" for run in alive)
        question = "The run goes on without this window" if len(alive) == 1 else "The runs go on"
        ask(self, question, names, ("quit", "stay"), self.exit)

    def alive_runs(self) -> list[RunDir]:
        """List runs at work, below this folder or attached to; not one that said its last word."""
        from engine.run import runs

        listed = [*runs.every(), *([self._first] if self._first else [])]
        by_name = {run.name: run for run in listed}
        return [run for run in by_name.values() if run.is_alive() and run.state().is_alive]


def _checked_keymap(keymap: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    from workbench.screens import keymap as every

    return every.checked(BenchApp, keymap)


def _actions() -> type[Provider]:
    from workbench.screens.actions import Actions

    return Actions


def _runs_screen() -> Screen[Any]:
    from workbench.screens.runs import RunsScreen

    return RunsScreen()


def attach_command(run: RunDir) -> str:
    """Spell the command that follows a run again."""
    return f"gemma-bench attach {sanitize_line(run.argument)}"


def run_app(attach: RunDir | None = None, sources: Sequence[str] = ()) -> int:
    """Run the app, on a run or on rows of the user's own where they are given; its exit code."""
    app = BenchApp(attach, partial(SetupScreen, sources=sources))
    try:
        app.run()
    finally:
        app.preview.close()
    with suppress(OSError):
        for run in app.alive_runs():
            print(f"{sanitize_line(run.name)} goes on. Come back with: {attach_command(run)}")
    return app.return_code or 0
