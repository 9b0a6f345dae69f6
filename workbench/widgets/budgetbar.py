"""The memory that a choice needs: a bar of what is there, its largest parts, host and disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.text.sanitize import clean
from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import wrap

if TYPE_CHECKING:
    from engine.budget.forecast import Budget

_TWO_COLUMNS = 60
_ROOMY = 3
"""Rows to spare from which the highest moment is worth one of them."""
_GAP = " " * 3


class BudgetBar(Canvas):
    """Says what it can in the rows it has; the bar and its verdict come first."""

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._budget: Budget | None = None
        self._reason = ""

    def show(self, budget: Budget | None, reason: str = "") -> None:
        """Show a budget, or why there is none."""
        self._budget, self._reason = budget, clean(reason)
        self.set_class(budget is None and not reason, "-none")
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """Badge, bar, verdict, highest moment, parts, host and disk."""
        if self._budget is None:
            return [[(line, "dim")] for line in wrap(self._reason, width)]
        from workbench.text import budget_page

        budget = self._budget
        [(verdict, ink)] = budget_page.verdict_row(budget)
        head: list[Row] = [
            budget_page.BADGE,
            budget_page.bar(budget, width, is_ascii=self._is_ascii),
            *([(line, ink)] for line in wrap(verdict, width)),
        ]
        room = height - len(head) - 1
        if room >= _ROOMY:
            head.append(budget_page.peak_moment(budget))
            room -= 1
        columns = 2 if width >= _TWO_COLUMNS else 1
        shown = budget_page.parts(budget, room * columns)
        names = max((len(name) for name, _ in shown), default=0) + 1
        cells = [f"{name:<{names}}{gib:6.2f} GiB" for name, gib in shown]
        rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
        return [*head, *([(_GAP.join(row), "")] for row in rows), budget_page.beside(budget)]
