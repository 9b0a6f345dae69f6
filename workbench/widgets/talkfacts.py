"""One line on a playground: which adapter, in which numbers, how fast each side is."""

from engine.sessions.playground import SIDES
from workbench.sessions.chat import Chat
from workbench.text.sanitize import clean_line
from workbench.widgets.canvas import Canvas, Row, Span

_GAP = "   "


class TalkFacts(Canvas):
    """What the engine is at, until it can be asked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._talk = Chat()

    def show(self, talk: Chat) -> None:
        """Show this talk."""
        self._talk = talk
        self.redraw()

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        talk = self._talk
        if talk.opened is not None:
            return [_facts(talk)]
        if talk.failed is not None:
            return []
        if talk.phase is not None:
            detail = clean_line(talk.phase.detail)
            return [[(talk.phase.name, "accent"), (f"  {detail} ...", "dim")]]
        waits = "the engine loads its libraries" if talk.is_started else "the engine starts"
        return [[("starting", "accent"), (f"  {waits} ...", "dim")]]


def _facts(talk: Chat) -> Row:
    """The model comes last: where the line is too short, its name is what can be missed."""
    opened = talk.opened
    assert opened is not None
    step = opened.adapter if opened.step is None else f"step {opened.step}"
    held = opened.dtype if opened.quantization == "none" else opened.quantization
    row: list[Span] = [("adapter of ", "dim"), (clean_line(step), "strong"), (_GAP, "")]
    for side in SIDES:
        rate = talk.rates.get(side)
        row += [(f"{side} ", "dim"), (f"{rate:.0f} " if rate else "- ", "")]
    return [*row, (f"tokens/s{_GAP}{clean_line(opened.model)}, {opened.device} {held}", "dim")]
