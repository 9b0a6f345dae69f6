"""What base and adapter answer to the same prompts, side by side, step by step."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.binding import Binding, BindingType

from engine.events import Sample
from workbench.text import word_diff, wrap_styled
from workbench.text.sanitize import clean
from workbench.text.word_diff import Piece
from workbench.widgets.canvas import Row, Span
from workbench.widgets.pager import Pager
from workbench.widgets.slider import slider
from workbench.widgets.wrap import fit, wrap

_GAP = "  "


class Samples(Pager):
    """The answers of one step, prompt by prompt; the latest until another step is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "Earlier", show=False, tooltip="Answers of an earlier step"),
        Binding("right,l", "turn(1)", "Later", show=False, tooltip="Answers of a later step"),
    ]

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._samples: Mapping[int, Sequence[Sample]] = {}
        self._chosen: int | None = None

    @property
    def step(self) -> int | None:
        """The step whose answers are shown; None before the first ones."""
        if self._chosen in self._samples:
            return self._chosen
        return max(self._samples, default=None)

    def show(self, samples: Mapping[int, Sequence[Sample]]) -> None:
        """Answers by step."""
        if samples is not self._samples:
            self._samples = samples
            self.redraw()

    def action_turn(self, by: int) -> None:
        """Another step; at the last one those to come are followed again."""
        steps = sorted(self._samples)
        if self.step is not None:
            place = max(0, min(len(steps) - 1, steps.index(self.step) + by))
            self._chosen = None if place == len(steps) - 1 else steps[place]
            self.redraw()

    def head(self, width: int) -> list[Row]:
        """The slider, and whose answers stand in which column."""
        if self.step is None:
            return [[("no sample yet", "dim")]]
        steps, column = sorted(self._samples), (width - len(_GAP)) // 2
        return [
            slider(steps, self.step, width, is_ascii=self._is_ascii),
            [(fit("base", column) + _GAP, "dim"), ("adapter", "dim")],
        ]

    def lines(self, width: int) -> list[Row]:
        """Each prompt over its two answers."""
        column = (width - len(_GAP)) // 2
        rows: list[Row] = []
        for sample in self._samples[self.step] if self.step is not None else ():
            rows += [[(line, "strong")] for line in wrap(sample.prompt, width)]
            rows += side_by_side(sample.base, sample.adapter, column)
        return rows


def side_by_side(left: str, right: str, column: int) -> list[Row]:
    """Two texts in columns of so many cells; what only one of them has stands out."""
    lefts, rights = word_diff.words(clean(left), clean(right))
    is_same = left == right
    pairs = zip_longest(_inked(lefts, "dim", column), _inked(rights, "good", column))
    rows: list[Row] = [
        [*_filled(one or [], column), (_GAP, ""), *(other or [])] for one, other in pairs
    ]
    return [*rows, [("both say the same", "dim")]] if is_same else rows


def _inked(pieces: list[Piece], own: str, column: int) -> list[list[Span]]:
    return wrap_styled.lines(
        [(text, own if is_own else "") for text, is_own in pieces], max(2, column)
    )


def _filled(line: list[Span], column: int) -> list[Span]:
    return [*line, (" " * (column - wrap_styled.length(line)), "")]
