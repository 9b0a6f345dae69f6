"""The memory that a choice needs: a bar of what is there, its largest parts, host and disk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.text.sanitize import clean
from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import fit, wrap

if TYPE_CHECKING:
    from engine.budget.forecast import Budget

_INKS = {"fits": "good", "tight": "warn", "no": "bad"}
_BEYOND = 6
"""A sixth of the bar lies beyond its end, for what doesn't fit."""
_TWO_COLUMNS = 60
_ROOMY = 3
"""Rows to spare from which the highest moment is worth one of them."""
_GAP = 3


class BudgetBar(Canvas):
    """Says what it can in the rows it has; the bar and its verdict come first."""

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._budget: Budget | None = None
        self._note = ""

    def show(self, budget: Budget | None, note: str) -> None:
        """Show a budget and what is to be said of it, or why there is none."""
        self._budget, self._note = budget, clean(note)
        self.set_class(budget is None and not note, "-none")
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """Badge, bar, verdict, highest moment, parts, host and disk."""
        found = self._budget
        if found is None:
            return [[(line, "dim")] for line in wrap(self._note, width)]
        from workbench.text import budget_page

        ink = _INKS[found.verdict]
        badge = budget_page.BADGE
        head: list[Row] = [
            [(badge, "strong"), (fit(self._note, max(0, width - len(badge))), "dim")],
            self._drawn_bar(found, width),
            *([(line, ink)] for line in wrap(budget_page.verdict(found), width)),
        ]
        room = height - len(head) - 1
        is_roomy = room >= _ROOMY
        moment: list[Row] = [[("highest in ", "dim"), (found.peak_moment, "")]] if is_roomy else []
        rows = self._drawn_parts(found, width, room - len(moment))
        return [*head, *moment, *rows, self._drawn_beside(found)]

    def _drawn_bar(self, found: Budget, width: int) -> Row:
        """It ends where the usable memory does, and goes on over that end where it must."""
        full, free, end = "#-|" if self._is_ascii else "█░│"
        beyond = width // _BEYOND
        cells = max(1, width - beyond - 1)
        ratio = found.device.expected / found.usable_gib if found.usable_gib else math.inf
        needed = math.ceil(min(ratio, 2.0) * cells)
        ink = _INKS[found.verdict]
        return [
            (full * min(needed, cells), ink),
            (free * (cells - needed), "band"),
            (end, "strong"),
            (full * min(needed - cells, beyond), ink),
        ]

    def _drawn_parts(self, found: Budget, width: int, room: int) -> list[Row]:
        from workbench.text import budget_page

        columns = 2 if width >= _TWO_COLUMNS else 1
        shown = budget_page.parts(found, room * columns)
        names = max((len(name) for name, _ in shown), default=0) + 1
        cells = [f"{name:<{names}}{gib:6.2f} GiB" for name, gib in shown]
        gap = " " * _GAP
        return [[(gap.join(cells[at : at + columns]), "")] for at in range(0, len(cells), columns)]

    def _drawn_beside(self, found: Budget) -> Row:
        usable = found.host_usable_gib
        of = f" of {usable:.1f}" if math.isfinite(usable) else ""
        host = f"{found.host_gib:.1f}{of} GiB"
        return [
            ("host ", "dim"),
            (host, ""),
            ("   disk ", "dim"),
            (f"{found.disk_gib:.2f} GiB", ""),
        ]
