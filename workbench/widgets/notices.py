"""Warnings of a run, each with what to do."""

from engine.events import Warned
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import wrap

_MOST_ROWS = 4


class Notices(Pager):
    """Newest first; takes no room while there is none."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._warnings: tuple[Warned, ...] = ()

    def show(self, warnings: tuple[Warned, ...]) -> None:
        """Show these instead."""
        if warnings == self._warnings:
            return
        self._warnings = warnings
        self.set_class(bool(warnings), "-some")
        self._take_rows()
        self.redraw()

    def on_resize(self) -> None:
        """A new width may need other rows."""
        self._take_rows()

    def _take_rows(self) -> None:
        rows = min(_MOST_ROWS, len(self.lines(self.content_size.width or 76)))
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows

    def lines(self, width: int) -> list[Row]:
        """What is the matter, then the remedy."""
        rows: list[Row] = []
        for warned in reversed(self._warnings):
            text = f"{warned.message}. {warned.fix}" if warned.fix else warned.message
            first, *rest = wrap(text, width - 9)
            rows.append([("warning  ", "warn"), (first, "")])
            rows += [[(" " * 9, ""), (line, "")] for line in rest]
        return rows
