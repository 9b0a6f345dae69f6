"""Ways from one screen to another; what is opened is imported then, not for the first paint."""

from functools import partial
from typing import Any

from textual.app import App

from engine.problems import Refusal
from engine.run.rundir import RunDir, State
from workbench.text.sanitize import sanitize_line

NO_CHECKPOINT = "It has no checkpoint yet: save one first, or wait for its end"


def show_mode(app: App[Any], mode: str) -> None:
    """Show the screen of a mode, without those that lie on it."""
    app.switch_mode(mode)
    while len(app.screen_stack) > 1:
        app.pop_screen()


def open_run(app: App[Any], run: RunDir) -> None:
    """Watch a run, over the table of runs."""
    from workbench.screens.run import RunScreen

    show_mode(app, "runs")
    app.push_screen(RunScreen(run))


class RunActions:
    """For screens with a run that may be played with or let go on."""

    app: App[Any]

    @property
    def run(self) -> RunDir:
        """The run."""
        raise NotImplementedError

    def run_disabled_reason(self, action: str, state: State) -> str:
        """Why one of these actions can't be done with a run in this state; empty where it can.

        Checkpoints are not read through for that.
        """
        from engine.run import adapters, checkpoint_manifest

        if action == "play":
            return "" if adapters.newest(self.run) else NO_CHECKPOINT
        if action != "resume":
            return ""
        if state.is_alive:
            return "It is at work"
        if state.name == "done":
            return "It is done: nothing is left of it"
        folders = checkpoint_manifest.folders(self.run)
        return "" if folders else "It has no checkpoint to go on from"

    def action_play(self) -> None:
        """Talk with base and adapter."""
        from workbench.screens.playground import PlaygroundScreen

        self.app.push_screen(PlaygroundScreen(self.run))

    def action_resume(self) -> None:
        """Let it go on, after reading all of a checkpoint to see that it is whole."""
        do = partial(_resume, self.app, self.run)
        self.app.run_worker(do, thread=True, group="resume", exclusive=True)


def _resume(app: App[Any], run: RunDir) -> None:
    from workbench import launch

    try:
        launch.resume(run)
    except (OSError, Refusal) as error:
        app.notify(sanitize_line(error), title="Not resumed", severity="error", markup=False)
    else:
        app.call_later(open_run, app, run)
