"""The names of a screen's panes on one line, where there is room for one pane only."""

from collections.abc import Sequence

from workbench.widgets.canvas import Canvas, Row, Span


class Panes(Canvas):
    """Each name with the number that is its key; the chosen one stands out."""

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names = names
        self._chosen = 0

    def choose(self, index: int) -> None:
        """Mark another one."""
        self._chosen = index
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        spans: list[Span] = []
        for index, name in enumerate(self._names):
            is_chosen = index == self._chosen
            spans.append((f"{index + 1} ", "accent" if is_chosen else "dim"))
            spans.append((name, "strong" if is_chosen else "dim"))
            spans.append(("    ", ""))
        return [spans]
