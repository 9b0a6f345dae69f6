"""What is said of one key of a recipe, and what is wrong with the value that is typed."""

from collections.abc import Sequence

from engine.problems import Problem
from workbench.recipe_editor.draft import is_of
from workbench.recipe_editor.keys import Key
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import wrap


class KeyHelp(Pager):
    """Mistakes come first: they are why one looks here."""

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._key: Key | None = None
        self._problems: Sequence[Problem] = ()

    def show(self, key: Key, problems: Sequence[Problem]) -> None:
        """Tell of this key instead."""
        self._key, self._problems = key, problems
        self.border_title = key.name
        self.border_subtitle = "h l change it" if key.choices else ""
        self.action_move(-1_000_000)

    def lines(self, width: int) -> list[Row]:
        """Mistakes, the comment, the kind of value, the default."""
        if self._key is None:
            return []
        rows: list[Row] = []
        for problem in self._problems:
            elsewhere = "" if is_of(problem, self._key.name) else f"{problem.key}: "
            rows += [[(line, "bad")] for line in wrap(f"{elsewhere}{problem.reason}", width)]
            if not elsewhere and problem.fix.startswith(("Did", "Choose")):
                rows += [[(line, "accent")] for line in wrap(problem.fix, width)]
        told = self._key.told
        rows += [[(line, "")] for line in wrap(told, width)] if told else []
        default = f", {self._key.default} by default" if self._key.default else ""
        return [*rows, *([(line, "dim")] for line in wrap(f"{self._key.kind}{default}", width))]
