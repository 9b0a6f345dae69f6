"""The top line: the program, the screen, and what it is about."""

from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import fit

_NAME = "gemma-bench"


class TitleBar(Canvas):
    """Program and screen to the left, subject and its state to the right."""

    def __init__(self, screen: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._screen = screen
        self._subject = ""
        self._state = ("", "")

    def show(self, subject: str, state: tuple[str, str] = ("", "")) -> None:
        """Name the subject, and its state with an ink."""
        self._subject, self._state = subject, state
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        left = f"{_NAME}  "
        state = f"  {self._state[0]}" if self._state[0] else ""
        room = max(0, width - len(left) - len(self._screen) - len(state) - 2)
        subject = fit(self._subject, min(room, max(len(self._subject), 1)))
        gap = " " * max(0, width - len(left) - len(self._screen) - len(subject) - len(state))
        return [
            [
                (left, "strong"),
                (self._screen, "dim"),
                (gap, ""),
                (subject, ""),
                (state, self._state[1]),
            ]
        ]
