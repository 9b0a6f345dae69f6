"""What the app's screens have in common: a frame, panes of which one may be shown, ways on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual.app import App, ComposeResult
from textual.binding import Binding

from engine.problems import Refusal
from workbench.text.sanitize import sanitize_line
from workbench.text.terminal import draws_braille
from workbench.widgets.canvas import Drawing
from workbench.widgets.frame import (
    DisabledActions,
    FocusKeeper,
    KeyLine,
    TitleBar,
    TooSmall,
    pane_names,
)
from workbench.widgets.key_names import key_name
from workbench.widgets.quiet_keys import quiet_key

if TYPE_CHECKING:
    from engine.run.rundir import RunDir, State

NO_CHECKPOINT = "It has no checkpoint yet: save one first, or wait for its end"


def pane_keys(names: Iterable[str]) -> list[Binding]:
    """A number for each pane."""
    return [
        quiet_key(f"pane-{number}", str(number), f"pane({number - 1})", name, f"Show {name}")
        for number, name in enumerate(names, 1)
    ]


class BenchScreen(DisabledActions, FocusKeeper[None]):
    """A title, a body, and the keys."""

    NAME: ClassVar[str]
    PANES: ClassVar[Mapping[str, str | None]] = {}
    """What has the focus in each pane; a screen that has panes yields `#panes` above them."""
    PANE_TITLES: ClassVar[Mapping[str, str]] = {}
    """The words in the frames of widgets, by id."""

    @property
    def is_ascii(self) -> bool:
        """Whether its charts and bars are drawn in ASCII."""
        return not draws_braille()

    def compose(self) -> ComposeResult:
        """The body in its frame."""
        yield TooSmall()
        yield TitleBar(self.NAME)
        yield from self.compose_body()
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """All panes; the style sheet shows one of them where there is no room for more."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Write the titles, and show the first pane."""
        for id, title in self.PANE_TITLES.items():
            self.query_one(f"#{id}").border_title = title
        if self.PANES:
            self.action_pane(0)

    def set_subject(self, subject: str, state: tuple[str, str] = ("", "")) -> None:
        """Name in the title what it is about, and the state of that with an ink."""
        self.query_one(TitleBar).set_subject(subject, state)

    def action_pane(self, index: int) -> None:
        """Show one pane where there is room for one only, else move to it."""
        names = [*self.PANES]
        for place, name in enumerate(names):
            self.set_class(place == index, f"-{name}")
        numbers = range(1, len(names) + 1)
        keys = [key_name(self.app, type(self), f"pane-{number}") for number in numbers]
        row = pane_names(keys, names, index)
        self.query_one("#panes", Drawing).show(lambda width, height: [row])
        target = self.PANES[names[index]]
        self._latest_focus = self.query_one(target) if target else None
        self.set_focus(self._latest_focus)

    def action_leave(self) -> None:
        """Back to where it was opened from."""
        self.dismiss(None)


class Bench(Protocol):
    """The app, as its screens know it: what they ask for another screen."""

    def open_run(self, run: RunDir) -> None:
        """Watch a run, over the table of runs."""

    def play(self, run: RunDir) -> None:
        """Talk with a run that has a checkpoint."""


def bench(app: App[Any]) -> Bench:
    """The app that a screen is one of."""
    return cast(Bench, app)


def why_not_resumed(run: RunDir, state: State) -> str:
    """Why a run can't go on; empty where it can. Checkpoints are not read through for that."""
    from engine.run import checkpoint_manifest

    if state.is_alive:
        return "It is at work"
    if state.name == "done":
        return "It is done: nothing is left of it"
    return "" if checkpoint_manifest.folders(run) else "It has no checkpoint to go on from"


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
        from engine.run import adapters

        if action == "play":
            return "" if adapters.newest(self.run) else NO_CHECKPOINT
        return why_not_resumed(self.run, state) if action == "resume" else ""

    def action_play(self) -> None:
        """Talk with base and adapter."""
        bench(self.app).play(self.run)

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
        app.call_later(bench(app).open_run, run)
