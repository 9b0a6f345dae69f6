"""Ways from one screen to another; what is opened is imported then, not for the first paint."""

from functools import partial
from typing import Any

from textual.app import App

from engine.problems import Refusal
from engine.run.rundir import RunDir, State
from workbench.text.sanitize import clean_line

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


def play_disabled_reason(run: RunDir) -> str:
    """Why a run can't be played with now; empty where it can."""
    from engine.run import adapters

    return "" if adapters.newest(run) else NO_CHECKPOINT


def play(app: App[Any], run: RunDir) -> None:
    """Talk with a run that has a checkpoint."""
    from workbench.screens.playground import PlaygroundScreen

    app.push_screen(PlaygroundScreen(run))


def resume_disabled_reason(run: RunDir, state: State) -> str:
    """Why a run can't go on; empty where it may, for its checkpoints are not read through here."""
    from engine.run import checkpoint_manifest

    if state.is_alive:
        return "It is at work"
    if state.name == "done":
        return "It is done: nothing is left of it"
    return "" if checkpoint_manifest.folders(run) else "It has no checkpoint to go on from"


def resume(app: App[Any], run: RunDir) -> None:
    """Let a run go on, after reading all of a checkpoint to see that it is whole."""
    app.run_worker(partial(_resume, app, run), thread=True, group="resume", exclusive=True)


def _resume(app: App[Any], run: RunDir) -> None:
    from workbench import launch

    try:
        launch.resume(run)
    except (OSError, Refusal) as error:
        app.notify(clean_line(error), title="Not resumed", severity="error", markup=False)
    else:
        app.call_later(open_run, app, run)
