"""What the adapters of several runs answer to the same prompts."""

from collections.abc import Sequence
from itertools import zip_longest

from workbench.run_view.comparison import LETTERS, Line
from workbench.widgets.canvas import Row, Span
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import fit, wrap

_GAP = 2
_MIN_COLUMN = 28
"""Narrower columns would be harder to read than answers below each other."""


class SideAnswers(Pager):
    """Prompt by prompt: in columns where there is room, below each other else."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._answers: Sequence[Line] = ()

    def show(self, answers: Sequence[Line]) -> None:
        """Show these instead."""
        if answers != self._answers:
            self._answers = answers
            self.redraw()

    def lines(self, width: int) -> list[Row]:
        """Each prompt over its answers."""
        if not self._answers:
            return [[("these runs have answered no prompt in common yet", "dim")]]
        count = len(self._answers[0][1])
        column = (width - (count - 1) * _GAP) // count
        lay_out = _columns if column >= _MIN_COLUMN else _stack
        rows: list[Row] = []
        for prompt, texts in self._answers:
            rows += [[(line, "strong")] for line in wrap(prompt, width)]
            rows += lay_out(texts, column if lay_out is _columns else width)
        return rows


def _columns(texts: Sequence[str], column: int) -> list[Row]:
    heads: list[Span] = []
    for letter in LETTERS[: len(texts)]:
        heads += [(fit(letter, column), f"run {letter}"), (" " * _GAP, "")]
    stacks = zip_longest(*(wrap(text, column) for text in texts), fillvalue="")
    return [
        heads,
        *([(fit(text, column) + " " * _GAP, "") for text in stack] for stack in stacks),
    ]


def _stack(texts: Sequence[str], width: int) -> list[Row]:
    rows: list[Row] = []
    for letter, text in zip(LETTERS, texts, strict=False):
        first, *rest = wrap(text, width - 3)
        rows.append([(f"{letter}  ", f"run {letter}"), (first, "")])
        rows += [[("   ", ""), (line, "")] for line in rest]
    return rows
