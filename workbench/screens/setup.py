"""Choose hardware and recipe, see what follows, start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.worker import get_current_worker

from engine.gemma import terms
from engine.hardware import profiles as hardware
from engine.hardware.profiles import AUTO, Profile
from engine.problems import Problem, Refusal
from engine.recipe import files
from workbench.recipe_editor import verdict
from workbench.recipe_editor.verdict import OwnRows
from workbench.screens.bench_screen import BenchScreen, bench
from workbench.sessions.prestarted_preview import PrestartedPreview
from workbench.text import format
from workbench.text.layouts import fact_rows, note_rows, problem_rows
from workbench.text.styled import Span, wrapped
from workbench.text.terminal import draws_braille
from workbench.widgets.canvas import Drawing, Pager
from workbench.widgets.choices import Choices
from workbench.widgets.key_names import key_name
from workbench.widgets.quiet_keys import quiet_key
from workbench.widgets.recipepane import RecipePane

if TYPE_CHECKING:
    from engine.run.rundir import RunDir
    from engine.sessions.preview import Reply
    from workbench.recipe_editor.draft import Changes
    from workbench.recipe_editor.recipe_assessment import Assessed, RecipeAssessment
    from workbench.widgets.keylist import KeyList

_SETTLE_S = 0.1
"""Lets the whole screen be painted before a thread competes with it."""
_STANDS_S = 0.15
"""Keys that are held down come faster than this."""
_OF_LISTS = {"edit", "filter", "lists", "attach", "rows"}


class Choice(NamedTuple):
    """What was chosen; names are empty where there is none."""

    hardware: str
    recipe: str
    changes: Changes


class SetupScreen(BenchScreen):
    """Nothing slow happens before the first paint: machine and recipe are looked at in threads."""

    NAME = "new run"
    PANE_TITLES: ClassVar = {
        "hardware": "hardware",
        "settings": "what follows",
        "budget": "memory",
        "problems": "before it can start",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start", id="setup-start", tooltip="Start the run"),
        Binding("p", "preview", "Preview", id="setup-preview", tooltip="Show the recipe's rows"),
        Binding("d", "rows", "Data", id="setup-data", tooltip="Train on rows of your own"),
        Binding("e", "edit", "Edit", id="setup-edit", tooltip="Change the recipe's keys"),
        Binding("w", "save_as", "Save", False, id="setup-save", tooltip="Save as a new recipe"),
        Binding("slash", "filter", "Filter", False, id="setup-filter", tooltip="Filter recipes"),
        Binding("a", "attach", "Attach", id="setup-attach", tooltip="Follow the run at work"),
        Binding("tab", "lists", "Lists", id="setup-lists", tooltip="Move between the lists"),
        quiet_key("app-setup", "n", "app.show_setup", "", ""),
    ]

    def __init__(
        self,
        preview: PrestartedPreview,
        detect: Callable[[], Profile] = hardware.detect,
        profiles: Sequence[str] | None = None,
        recipes: Sequence[str] | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._preview = preview
        self._sources = sources
        self._detect = detect
        self._profiles = hardware.names() if profiles is None else profiles
        self._names = files.names() if recipes is None else recipes
        self._here = Profile(AUTO, "this machine", "cpu", 0.0, 0.0, False)
        self._alive: RunDir | None = None
        self._basis: tuple[Choice, int] | None = None
        """A choice, and when its recipe was written."""
        self._outcome: RecipeAssessment | None = None
        """What follows from it, once that is known."""
        self._of_rows: Sequence[Problem] = ()
        """What the preview's engine says of its rows, once it has read them."""
        self._own_rows = OwnRows.UNREAD
        self._is_starting = False

    def compose_body(self) -> ComposeResult:
        """Two lists, and what follows from them."""
        yield Drawing(id="offer")
        with Horizontal(id="setup"):
            with Vertical(id="choices"):
                yield Choices(self._profiles, id="hardware")
                yield RecipePane(self._names, self._sources)
            with Vertical(id="outcome"):
                yield Pager(id="settings")
                yield Drawing(id="budget")
                yield Pager(id="problems")

    def on_mount(self) -> None:
        """Take the first of both lists, look around."""
        self.query_one("#recipe").focus()

    def on_screen_resume(self) -> None:
        """Runs may have started or ended meanwhile, files may have changed."""
        self._is_starting = False
        self.set_timer(_SETTLE_S, self._look_if_seen)

    def on_screen_suspend(self) -> None:
        """What another screen does has more use for the machine."""
        self._leave_off()

    def _leave_off(self) -> None:
        self.workers.cancel_group(self, "remedy")
        self.workers.cancel_group(self, "rows")

    def _look_if_seen(self) -> None:
        if self.is_active:
            self._look()

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        from engine.recipe import nearby
        from engine.run import runs

        alive = next((run for run in runs.every() if run.is_alive()), None)
        self.call_later(self._take, self._detect(), alive, nearby.recipes())

    def _take(self, here: Profile, alive: RunDir | None, own_recipes: list[str]) -> None:
        """Say what this machine is, and offer the run at work."""
        self._here, self._alive = here, alive
        self.query_one("#hardware", Choices).label(AUTO, f"{here.title}, this machine")
        key = key_name(self.app, type(self), "setup-attach")
        offer = verdict.offer(alive.name, key) if alive else []
        self.query_one("#offer", Drawing).show(lambda width, height: offer)
        self._recipes.show_own(own_recipes)
        self.refresh_bindings()
        self._check()

    @on(Choices.Moved)
    @on(RecipePane.Selected)
    def _look_at_choice(self) -> None:
        if self._here.memory_gib:
            self._check()

    @on(Choices.Entered)
    async def _go_on(self, entry: Choices.Entered) -> None:
        """Hardware leads on to the recipes, a recipe to its keys."""
        if entry.id == "hardware":
            self.query_one("#recipe").focus()
        else:
            await self.app.run_action("edit", self)

    @property
    def choice(self) -> Choice:
        """Hardware and recipe as they are chosen, and what is changed of the recipe."""
        hardware = self.query_one("#hardware", Choices)
        return Choice(hardware.selected, self._recipes.selected, self._recipes.changes)

    @property
    def _recipes(self) -> RecipePane:
        return self.query_one(RecipePane)

    def _check(self) -> None:
        """See what follows; of the same choice and file, what is known stands until then."""
        basis = self.choice, _written_ns(self.choice.recipe)
        if basis != self._basis:
            self._basis, self._outcome, self._of_rows = basis, None, ()
            self._own_rows = OwnRows.UNREAD
        outcome = self._outcome
        self._judge(self._verdict(outcome) if outcome else ("checking", "dim"), outcome)
        self.refresh_bindings()
        self._check_in_thread(self.choice)

    @work(thread=True, exclusive=True, group="check")
    def _check_in_thread(self, choice: Choice) -> None:
        from workbench.recipe_editor import recipe_assessment

        assessment = recipe_assessment.of_choice(
            choice.hardware, choice.recipe, self._here, choice.changes
        )
        self.call_later(self._take_checked, choice, assessment)

    def _take_checked(self, choice: Choice, outcome: RecipeAssessment) -> None:
        """Show what follows, unless the choice moved on meanwhile."""
        from workbench.recipe_editor import foresight
        from workbench.recipe_editor.recipe_assessment import Assessed

        # All is painted, and a preview may be asked for next.
        self.run_worker(self._preview.start, thread=True, group="preview")
        if choice == self.choice:
            self._show(outcome)
            if not self.is_active or not isinstance(outcome, Assessed):
                return
            if not outcome.forecast.budget.fits:
                self._seek_remedy(choice, outcome)
            is_own = "data.sources" in choice.changes or choice.recipe not in self._names
            if is_own and not outcome.problems and foresight.is_at_hand(outcome.recipe):
                if self._own_rows is OwnRows.UNREAD:
                    self._take_rows(choice, OwnRows.READING, ())
                self._see_rows(choice, outcome)

    @work(thread=True, exclusive=True, group="rows")
    def _see_rows(self, choice: Choice, outcome: Assessed) -> None:
        """How rows of one's own are read is the engine's to tell, which takes its time."""
        from workbench.recipe_editor import foresight

        worker = get_current_worker()
        time.sleep(_STANDS_S)
        if worker.is_cancelled:
            return
        reply: Reply | None = None
        with suppress(Refusal, OSError):
            reply = self._preview.answer_to(outcome.recipe, lambda: not worker.is_cancelled)
        if worker.is_cancelled:
            return
        noted = foresight.of_reply(outcome.recipe, reply)
        self.call_later(self._take_rows, choice, verdict.of_reply(reply), noted)

    def _take_rows(self, choice: Choice, own_rows: OwnRows, noted: Sequence[Problem]) -> None:
        """Say how they stand, and note what will disappoint."""
        if choice == self.choice and self._outcome and not self._is_starting:
            self._own_rows, self._of_rows = own_rows, noted
            self._judge(self._verdict(self._outcome), self._outcome)

    @work(thread=True, exclusive=True, group="remedy")
    def _seek_remedy(self, choice: Choice, assessed: Assessed) -> None:
        """It takes longer than a key press, so that the choice has to stand first."""
        from workbench.recipe_editor import recipe_assessment

        worker = get_current_worker()
        time.sleep(_STANDS_S)
        if not worker.is_cancelled:
            self.call_later(self._take_remedied, choice, recipe_assessment.remedied(assessed))

    def _take_remedied(self, choice: Choice, outcome: RecipeAssessment) -> None:
        """Show the remedy; a choice that is checked anew has its own coming."""
        if choice == self.choice and self._outcome and not self._is_starting:
            self._show(outcome)

    def _show(self, outcome: RecipeAssessment) -> None:
        self._outcome = outcome
        self.query_one("#settings", Pager).show_lines(partial(fact_rows, outcome.facts))
        self.query_one("#outcome").set_class(bool(outcome.problems), "-blocked")
        self._show_memory(outcome)
        self._judge(self._verdict(outcome), outcome)
        if not outcome.draft:
            self.on_key_list_closed()
        elif self.has_class("-editing"):
            count = len(outcome.draft.changes)
            state = (format.amount(count, "change"), "warn") if count else ("", "")
            self.set_subject(outcome.draft.name, state)
            self._keys.show(outcome.draft)
        self.refresh_bindings()
        self.call_after_refresh(self.on_resize)

    def _show_memory(self, outcome: RecipeAssessment) -> None:
        """The budget, or why there is none."""
        from workbench.recipe_editor.recipe_assessment import Assessed, Unbudgeted
        from workbench.text import budget_page

        budget = outcome.forecast.budget if isinstance(outcome, Assessed) else None
        reason = outcome.reason if isinstance(outcome, Unbudgeted) else ""
        self.query_one("#outcome").set_class(budget is not None, "-budgeted")
        pane = self.query_one("#budget", Drawing)
        pane.set_class(budget is None and not reason, "-none")
        if budget is None:
            pane.show(lambda width, _: wrapped(reason, "dim", width))
        else:
            pane.show(partial(budget_page.pane, budget, is_ascii=self.is_ascii))

    def _judge(self, judgement: Span, outcome: RecipeAssessment | None = None) -> None:
        """Say what is under way, or what is wrong, or else what will disappoint."""
        problems = outcome.problems if outcome else ()
        notes = (*outcome.notes, *self._of_rows) if outcome and not problems else ()
        self.query_one("#outcome").set_class(bool(notes), "-noted")
        self.query_one("#problems", Pager).show_lines(
            lambda width: [*problem_rows(judgement, problems, width), *note_rows(notes, width)]
        )

    def _verdict(self, outcome: RecipeAssessment) -> Span:
        """What to do next, by the keys that do it."""
        ids = ("setup-start", "setup-preview")
        start, rows = (key_name(self.app, type(self), id) for id in ids)
        return verdict.of_outcome(outcome, self._own_rows, start, rows)

    def on_resize(self) -> None:
        """Facts that don't fit are told of."""
        facts = self.query_one("#settings", Pager)
        lists = key_name(self.app, type(self), "setup-lists")
        down = key_name(self.app, Pager, "list-down")
        facts.border_subtitle = f"{lists}, {down}: more" if facts.is_cut else ""

    @property
    def _keys(self) -> KeyList:
        from workbench.widgets.keylist import KeyList

        return self.query_one(KeyList)

    async def action_edit(self) -> None:
        """Show the recipe's keys in the place of what follows from them."""
        from workbench.widgets.keylist import KeyList

        if self._outcome and self._outcome.draft:
            if not self.query(KeyList):
                about = Pager(id="help")
                about.can_focus = False
                outcome = self.query_one("#outcome")
                await outcome.mount_all([KeyList(id="keys"), about], before="#budget")
            self.add_class("-editing")
            self._show(self._outcome)
            self._keys.focus()

    def on_key_list_looked(self, looked: KeyList.Looked) -> None:
        """Say what a key is about, and what is wrong with its value."""
        from workbench.recipe_editor import keys

        key = looked.key
        about = self.query_one("#help", Pager)
        about.border_title = key.name
        ids = ("keys-value-before", "keys-next-value")
        turns = " ".join(key_name(self.app, type(self._keys), id) for id in ids)
        about.border_subtitle = f"{turns} change it" if key.choices else ""
        about.show_lines(partial(keys.help_rows, key, looked.problems))
        about.action_move(-1_000_000)

    def on_key_list_changed(self, changed: KeyList.Changed) -> None:
        """Another value: see what follows from it."""
        self._recipes.change(changed.draft.name, changed.draft.changes)
        self._check()

    def on_key_list_closed(self) -> None:
        """Back to what follows from the recipe."""
        if self.has_class("-editing"):
            self.remove_class("-editing")
            self.set_subject("")
            self.query_one("#recipe").focus()
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the lists go while the recipe is edited."""
        if action in _OF_LISTS and self.has_class("-editing"):
            return False
        return super().check_action(action, parameters)

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done now."""
        outcome = self._outcome
        if action in _OF_LISTS - {"lists"} and self.has_class("-editing"):
            return f"Leave the keys first, with {key_name(self.app, type(self._keys), 'keys-back')}"
        if action == "attach":
            return "" if self._alive is not None else "No run is at work"
        if action == "start" and self._is_starting:
            return "It is being started"
        if outcome is None:
            return "The choice is being checked" if action in {"start", "preview", "edit"} else ""
        match action:
            case "start":
                may_start = not outcome.problems or verdict.lacks_terms_only(outcome)
                return "" if may_start else "What is wrong is told above; mend it first"
            case "preview":
                return "" if outcome.recipe is not None else "The recipe has to be right first"
            case "edit" | "save_as":
                return "" if outcome.draft is not None else "The recipe's file can't be read"
        return ""

    def action_rows(self) -> None:
        """Ask which rows to train on, and take them."""
        from workbench.screens.rows import RowsScreen

        self.app.push_screen(RowsScreen(), self._train_on)

    def _train_on(self, source: str | None) -> None:
        if source:
            self._recipes.train_on([source])
            self._check()

    def action_save_as(self) -> None:
        """Ask for a name, and save the recipe with its changes."""
        from workbench.recipe_editor import draft
        from workbench.screens.dialogs import NamingScreen

        edited = draft.read(self.choice.recipe, self.choice.changes)
        if edited:
            self.app.push_screen(NamingScreen(edited), self._adopt)

    def _adopt(self, name: str | None) -> None:
        if name:
            self._recipes.adopt(name)
            self.notify(f"Saved as {name}", markup=False)

    async def action_filter(self) -> None:
        """Let names be typed that the recipes are narrowed to."""
        await self._recipes.filter()

    def action_lists(self) -> None:
        """To the next pane."""
        self.focus_next()

    def action_preview(self) -> None:
        """Go to the recipe's rows."""
        from workbench.screens.preview import PreviewScreen
        from workbench.text.token_marks import TextStyle

        if self._outcome is not None and self._outcome.recipe is not None:
            style = TextStyle(not self.app.no_color, draws_braille())
            self.app.push_screen(
                PreviewScreen(self.choice.recipe, self._outcome.recipe, self._preview, style)
            )

    def action_attach(self) -> None:
        """Go to the run at work."""
        if self._alive:
            bench(self.app).open_run(self._alive)

    def action_start(self) -> None:
        """Make the run and start its engine, which has more use for the machine than a forecast."""
        if self._outcome is not None and verdict.lacks_terms_only(self._outcome):
            self._ask_for_terms()
            return
        self._is_starting = True
        self._leave_off()
        self.refresh_bindings()
        self._judge(("starting", "dim"))
        self._start_in_thread(self.choice, self._outcome)

    def _ask_for_terms(self) -> None:
        """Show the terms that the model is under; who agrees may start."""
        from workbench.screens import dialogs

        def agree() -> None:
            try:
                terms.agree()
            except OSError as error:
                reason = f"{error.filename}: {error.strerror}"
                self.notify(f"That can't be kept: {reason}", severity="error", markup=False)
            self._check()

        question, choices = "Do you agree to Gemma's terms of use?", ("agree", "decline")
        dialogs.ask(self.app, question, terms.NOTICE, choices, agree)

    @work(thread=True, group="start")
    def _start_in_thread(self, choice: Choice, outcome: RecipeAssessment | None) -> None:
        from workbench import launch
        from workbench.recipe_editor import draft
        from workbench.recipe_editor.recipe_assessment import Assessed

        recipe_forecast = outcome.forecast if isinstance(outcome, Assessed) else None
        overrides = draft.overrides(choice.changes)
        try:
            proposal = launch.propose(
                choice.recipe, overrides, choice.hardware, None, recipe_forecast=recipe_forecast
            )
            run = proposal.make()
            launch.start(run)
            self.call_later(self._started, run)
        except Refusal as refusal:
            self.call_later(self._refused, refusal.problems)
        except OSError as error:
            problem = Problem("start", "", str(error), "See whether disk and memory are free")
            self.call_later(self._refused, [problem])

    def _started(self, run: RunDir) -> None:
        """Watch it; the preview's engine would be in its way."""
        self.app.run_worker(self._preview.stop, thread=True, group="preview")
        bench(self.app).open_run(run)

    def _refused(self, problems: list[Problem]) -> None:
        """Say why, and let the user try again."""
        self._is_starting = False
        if self._outcome is not None:
            self._show(replace(self._outcome, problems=problems))


def _written_ns(recipe: str) -> int:
    """When a recipe's file was written; 0 where there is none."""
    try:
        return files.find(recipe).stat().st_mtime_ns
    except OSError:
        return 0
