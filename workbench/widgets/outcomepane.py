"""What follows from a choice: facts, memory, problems; the recipe's keys in the facts' place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from engine.problems import Problem
from workbench.text import format
from workbench.text.layouts import fact_rows, problem_rows
from workbench.text.styled import Span, wrapped
from workbench.widgets.canvas import Drawing, Pager

if TYPE_CHECKING:
    from workbench.recipe_editor.draft import Draft
    from workbench.recipe_editor.recipe_assessment import RecipeAssessment
    from workbench.widgets.keylist import KeyList

_TITLES = {"settings": "what follows", "budget": "memory", "problems": "before it can start"}


class OutcomePane(Vertical):
    """Panes that show one outcome. What edits keys is imported and mounted when it is asked for."""

    def __init__(self, *, is_ascii: bool, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii

    def compose(self) -> ComposeResult:
        """Facts, memory, problems."""
        yield Pager(id="settings")
        yield Drawing(id="budget")
        yield Pager(id="problems")

    def on_mount(self) -> None:
        """Name the panes."""
        for id, title in _TITLES.items():
            self.query_one(f"#{id}").border_title = title

    def show(self, outcome: RecipeAssessment) -> None:
        """Show this one; its keys too, while they are edited."""
        from workbench.recipe_editor.recipe_assessment import Assessed, Unbudgeted
        from workbench.text import budget_page

        self.query_one("#settings", Pager).show_lines(partial(fact_rows, outcome.facts))
        budget = outcome.forecast.budget if isinstance(outcome, Assessed) else None
        reason = outcome.reason if isinstance(outcome, Unbudgeted) else ""
        self.set_class(bool(outcome.problems), "-blocked")
        self.set_class(budget is not None, "-budgeted")
        pane = self.query_one("#budget", Drawing)
        pane.set_class(budget is None and not reason, "-none")
        if budget is None:
            pane.show(lambda width, _: wrapped(reason, "dim", width))
        else:
            pane.show(partial(budget_page.pane, budget, is_ascii=self._is_ascii))
        self._judge(_verdict(outcome), outcome.problems)
        if self.has_class("-editing") and outcome.draft:
            self._keys.show(outcome.draft)
        self.call_after_refresh(self.on_resize)

    def on_resize(self) -> None:
        """Facts that don't fit are told of."""
        facts = self.query_one("#settings", Pager)
        facts.border_subtitle = "tab, down: more" if facts.is_cut else ""

    def say(self, text: str) -> None:
        """Say what is under way instead of problems."""
        self._judge((text, "dim"), ())

    def _judge(self, verdict: Span, problems: Sequence[Problem]) -> None:
        self.query_one("#problems", Pager).show_lines(partial(problem_rows, verdict, problems))

    @property
    def _keys(self) -> KeyList:
        from workbench.widgets.keylist import KeyList

        return self.query_one(KeyList)

    async def edit(self, draft: Draft) -> None:
        """Show the keys of a recipe."""
        from workbench.widgets.keylist import KeyList

        if not self.query(KeyList):
            about = Pager(id="help")
            about.can_focus = False
            await self.mount_all([KeyList(id="keys"), about], before="#budget")
        self.add_class("-editing")
        self._keys.show(draft)
        self._keys.focus()

    def on_key_list_looked(self, looked: KeyList.Looked) -> None:
        """Say what a key is about, and what is wrong with its value."""
        from workbench.recipe_editor import keys

        looked.stop()
        key = looked.key
        about = self.query_one("#help", Pager)
        about.border_title = key.name
        about.border_subtitle = "h l change it" if key.choices else ""
        about.show_lines(partial(keys.help_rows, key, looked.problems))
        about.action_move(-1_000_000)


def _verdict(outcome: RecipeAssessment) -> Span:
    if not outcome.problems:
        return "Nothing is wrong. s starts the run, p shows its rows.", "good"
    count = format.amount(len(outcome.problems), "problem")
    waits = "start waits" if outcome.recipe else "start and preview wait"
    return f"{count}: {waits} for what is below", "bad"
