"""Choose hardware and recipe, see what follows, start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from engine import hardware, recipe_files
from engine.hardware import AUTO, Profile
from engine.refusal import Problem, Refusal
from workbench import wording
from workbench.plain import clean_line
from workbench.widgets.budgetbar import BudgetBar
from workbench.widgets.choices import Choices
from workbench.widgets.facts import Facts
from workbench.widgets.keyline import KeyLine
from workbench.widgets.offer import Offer
from workbench.widgets.problems import Problems
from workbench.widgets.titlebar import TitleBar
from workbench.widgets.toosmall import TooSmall

if TYPE_CHECKING:
    from engine.recipe import Recipe
    from engine.rundir import RunDir
    from workbench.fitting import Known
    from workbench.outcome import Outcome
    from workbench.simulation import Simulation

_SETTLE_S = 0.1
"""Lets the whole screen be painted before a thread competes with it."""


def _simulate(recipe: Recipe, profile: Profile) -> Simulation:
    from workbench import simulation

    return simulation.start(recipe, profile)


class SetupScreen(Screen[None]):
    """Nothing slow happens before the first paint: machine and recipe are looked at in threads."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start", id="setup-start", tooltip="Start the run"),
        Binding("p", "preview", "Preview", id="setup-preview", tooltip="Show the recipe's rows"),
        Binding("a", "attach", "Attach", id="setup-attach", tooltip="Follow the run at work"),
        Binding("tab", "app.focus_next", "Lists", show=True, tooltip="Move between the lists"),
    ]

    class Found(Message):
        """The machine and the runs were looked at."""

        def __init__(self, profile: Profile, alive: RunDir | None) -> None:
            super().__init__()
            self.profile, self.alive = profile, alive

    class Checked(Message):
        """A choice was checked."""

        def __init__(self, choice: tuple[str, str], outcome: Outcome) -> None:
            super().__init__()
            self.choice, self.outcome = choice, outcome

    class Pondered(Checked):
        """More is known of a choice that was checked."""

    class Refused(Message):
        """A run could not be started after all."""

        def __init__(self, problems: list[Problem]) -> None:
            super().__init__()
            self.problems = problems

    class Started(Message):
        """A run was made and its engine started."""

        def __init__(self, run: RunDir) -> None:
            super().__init__()
            self.run = run

    class PreviewWanted(Message):
        """The user wants to see the rows of a recipe."""

        def __init__(self, name: str, recipe: Recipe) -> None:
            super().__init__()
            self.name, self.recipe = name, recipe

    class AttachWanted(Message):
        """The user wants to follow the run at work."""

        def __init__(self, run: RunDir) -> None:
            super().__init__()
            self.run = run

    def __init__(
        self,
        detect: Callable[[], Profile] = hardware.detect,
        profiles: Sequence[str] | None = None,
        recipes: Sequence[str] | None = None,
        simulate: Callable[[Recipe, Profile], Simulation] | None = _simulate,
        *,
        is_ascii: bool = False,
    ) -> None:
        super().__init__()
        self._detect = detect
        self._simulate = simulate
        self._is_ascii = is_ascii
        self._profiles = hardware.names() if profiles is None else profiles
        self._recipes = recipe_files.names() if recipes is None else recipes
        self._here = Profile(AUTO, "this machine", "cpu", 0.0, 0.0, False)
        self._alive: RunDir | None = None
        self._outcome: Outcome | None = None
        self._is_starting = False

    def compose(self) -> ComposeResult:
        """Two lists, and what follows from them."""
        yield TooSmall()
        yield TitleBar("new run")
        yield Offer()
        with Horizontal(id="setup"):
            with Vertical(id="choices"):
                yield Choices(self._profiles, id="hardware")
                yield Choices(self._recipes, id="recipe")
            with Vertical(id="outcome"):
                yield Facts(id="settings")
                yield BudgetBar(is_ascii=self._is_ascii, id="budget")
                yield Problems(id="problems")
        yield KeyLine()

    def on_mount(self) -> None:
        """Name the panes, take the first of both lists, look around."""
        for id, title in _TITLES.items():
            self.query_one(f"#{id}").border_title = title
        self.query_one("#recipe").focus()

    def on_screen_resume(self) -> None:
        """Runs may have started or ended meanwhile, files may have changed."""
        self._is_starting = False
        self.set_timer(_SETTLE_S, self._look_if_seen)

    def on_screen_suspend(self) -> None:
        """What another screen does has more use for the machine."""
        self.workers.cancel_group(self, "ponder")

    def _look_if_seen(self) -> None:
        if self.is_active:
            self._look()

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        from engine import rundir

        alive = next((run for run in rundir.every() if run.is_alive()), None)
        self.post_message(self.Found(self._detect(), alive))

    def on_setup_screen_found(self, found: Found) -> None:
        """Say what this machine is, and offer the run at work."""
        self._here = found.profile
        label = f"{found.profile.title}, this machine"
        self.query_one("#hardware", Choices).label(AUTO, label)
        self._alive = found.alive
        self.query_one(Offer).show(clean_line(found.alive.name) if found.alive else "")
        self.refresh_bindings()
        self._check()

    def on_choices_moved(self) -> None:
        """Another choice."""
        if self._here.memory_gib:
            self._check()

    @property
    def choice(self) -> tuple[str, str]:
        """Names of the hardware profile and of the recipe; empty where there is none."""
        hardware, recipe = (self.query_one(f"#{id}", Choices) for id in ("hardware", "recipe"))
        return hardware.chosen, recipe.chosen

    def _check(self) -> None:
        self._outcome = None
        self.query_one(Problems).show(("checking", "dim"))
        self.refresh_bindings()
        self._check_in_thread(self.choice)

    @work(thread=True, exclusive=True, group="check")
    def _check_in_thread(self, choice: tuple[str, str]) -> None:
        from workbench import outcome

        self.post_message(self.Checked(choice, outcome.of_choice(*choice, self._here)))

    def on_setup_screen_checked(self, checked: Checked) -> None:
        """Show what follows, unless the choice moved on meanwhile."""
        if checked.choice == self.choice:
            self._show(checked.outcome)
            if self.is_active:
                self._ponder(checked)

    @work(thread=True, exclusive=True, group="ponder")
    def _ponder(self, checked: Checked) -> None:
        from workbench import pondering

        worker = get_current_worker()
        known = pondering.ponder(checked.outcome, self._simulate, lambda: worker.is_cancelled)
        for outcome in known:
            if worker.is_cancelled:
                return
            self.post_message(self.Pondered(checked.choice, outcome))

    def on_setup_screen_pondered(self, pondered: Pondered) -> None:
        """Show what is known by now; a choice that is checked anew has its own answer coming."""
        if pondered.choice == self.choice and self._outcome and not self._is_starting:
            self._show(pondered.outcome)

    def _show(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self.query_one("#settings", Facts).show(outcome.facts)
        self.query_one(BudgetBar).show(outcome.budget, outcome.note)
        count = len(outcome.problems)
        waits = "start waits" if outcome.recipe else "start and preview wait"
        verdict = (
            (f"{wording.amount(count, 'problem')}: {waits} for what is below", "bad")
            if count
            else ("Nothing is wrong. s starts the run, p shows its rows.", "good")
        )
        self.query_one("#outcome").set_class(bool(count), "-blocked")
        self.query_one("#outcome").set_class(outcome.budget is not None, "-budgeted")
        self.query_one(Problems).show(verdict, outcome.problems)
        self.refresh_bindings()

    def on_setup_screen_refused(self, refused: Refused) -> None:
        """Say why, and let the user try again."""
        self._is_starting = False
        if self._outcome is not None:
            known = replace(self._outcome, problems=refused.problems, recipe=None, note="")
            self._show(known)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Start needs a choice without problems, preview such a recipe, attach a run at work."""
        if action == "start":
            is_ready = self._outcome is not None and not self._outcome.problems
            return True if is_ready and not self._is_starting else None
        if action == "preview":
            return True if self._outcome is not None and self._outcome.recipe else None
        if action == "attach":
            return True if self._alive else None
        return True

    def action_preview(self) -> None:
        """Go to the recipe's rows."""
        if self._outcome is not None and self._outcome.recipe is not None:
            self.post_message(self.PreviewWanted(self.choice[1], self._outcome.recipe))

    def action_attach(self) -> None:
        """Go to the run at work."""
        if self._alive:
            self.post_message(self.AttachWanted(self._alive))

    def action_start(self) -> None:
        """Make the run and start its engine, which has more use for the machine than a forecast."""
        self._is_starting = True
        self.workers.cancel_group(self, "ponder")
        self.refresh_bindings()
        self.query_one(Problems).show(("starting", "dim"))
        self._start_in_thread(self.choice, self._outcome.known if self._outcome else None)

    @work(thread=True, group="start")
    def _start_in_thread(self, choice: tuple[str, str], known: Known | None) -> None:
        from workbench import launch

        profile_name, recipe_name = choice
        try:
            run = launch.prepare(recipe_name, [], profile_name, None, known=known)
            launch.start(run)
            self.post_message(self.Started(run))
        except Refusal as refusal:
            self.post_message(self.Refused(refusal.problems))
        except OSError as error:
            problem = Problem("start", "", str(error), "See whether disk and memory are free")
            self.post_message(self.Refused([problem]))


_TITLES = {
    "hardware": "hardware",
    "recipe": "recipe",
    "settings": "what follows",
    "budget": "memory",
    "problems": "before it can start",
}
