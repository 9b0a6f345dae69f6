"""A line that offers to go back to a run that is at work."""

from workbench.widgets.canvas import Canvas, Row


class Offer(Canvas):
    """Takes no room while there is nothing to offer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._name = ""

    def show(self, name: str) -> None:
        """Offer the run of that name; none where it is empty."""
        self._name = name
        self.set_class(bool(name), "-some")
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        if not self._name:
            return []
        return [
            [(self._name, "strong"), (" is running. ", ""), ("a", "accent"), (" follows it", "")]
        ]
