"""The notice that takes a screen's place where the terminal is too small for it."""

from workbench.widgets.canvas import Canvas, Row

MIN_WIDTH, MIN_HEIGHT = 60, 18


class TooSmall(Canvas):
    """Says which size is needed, and that nothing stopped."""

    def drawn(self, width: int, height: int) -> list[Row]:
        """Centred lines."""
        here = self.app.size
        lines = [
            (f"this terminal is {here.width} x {here.height}", "strong"),
            (f"gemma-bench needs {MIN_WIDTH} x {MIN_HEIGHT}", ""),
            ("runs go on meanwhile", "dim"),
        ]
        above: list[Row] = [[]] * max(0, (height - len(lines)) // 2)
        return [*above, *([(text.center(width), ink)] for text, ink in lines)]
