"""Which letter stands for which run."""

from collections.abc import Sequence

from workbench.run_view.comparison import LETTERS
from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import fit


class RunNames(Canvas):
    """Letters and names, two to a row where they have the room."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names: Sequence[str] = ()

    def show(self, names: Sequence[str]) -> None:
        """Show these instead."""
        self._names = names
        self._take_rows()
        self.redraw()

    def on_resize(self) -> None:
        """A new width may need other rows."""
        self._take_rows()

    def _take_rows(self) -> None:
        rows = len(self.drawn(self.content_size.width or 76, 0))
        if self.styles.height is None or self.styles.height.value != rows:
            self.styles.height = rows

    def drawn(self, width: int, height: int) -> list[Row]:
        """A row for each two or three names."""
        longest = max((len(name) for name in self._names), default=0) + 5
        per_row = max(1, width // longest)
        cells = [
            [(f"{letter} ", f"run {letter}"), (fit(name, min(longest, width) - 2), "")]
            for letter, name in zip(LETTERS, self._names, strict=False)
        ]
        return [
            [span for cell in cells[at : at + per_row] for span in cell]
            for at in range(0, len(cells), per_row)
        ]
