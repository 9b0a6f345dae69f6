"""A list of names and values: the figures of the last step, the main facts of a plan."""

from collections.abc import Sequence

from workbench.recipe_editor.recipe_facts import Fact
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import fit, wrap

_GAP = 2


class Facts(Pager):
    """Names in one column, values in the next."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._facts: Sequence[Fact] = ()

    def show(self, facts: Sequence[Fact]) -> None:
        """Show these instead."""
        self._facts = facts
        self.redraw()

    @property
    def is_cut(self) -> bool:
        """Whether there is more than it has room for."""
        width, height = self.content_size
        return len(self.lines(width)) > height

    def lines(self, width: int) -> list[Row]:
        """A row per fact, more where its value is long."""
        longest = max((len(name) for name, _, _ in self._facts), default=0)
        names = min(width // 2, longest) + _GAP if longest else 0
        rows: list[Row] = []
        for name, value, ink in self._facts:
            first, *rest = wrap(value, width - names)
            rows.append([(fit(name, names), "dim"), (first, ink)])
            rows += [[(" " * names, ""), (line, ink)] for line in rest]
        return rows
