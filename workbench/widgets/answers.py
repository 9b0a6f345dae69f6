"""What base and adapter answer to the same prompts, side by side: in a run's samples and a talk."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import zip_longest
from typing import ClassVar

from textual.binding import BindingType

from engine.events import Sample
from engine.sessions.playground import SIDES
from workbench.sessions.chat import Chat, Exchange, Reply
from workbench.text.sanitize import sanitize, sanitize_line
from workbench.text.styled import Row, Span, beside, fit, wrap, wrap_spans, wrapped
from workbench.widgets.canvas import Pager
from workbench.widgets.quiet_keys import quiet_key

_GAP: Span = ("  ", "")
_OWN = "\u3040-\u30ff\u4e00-\u9fff"
_WORDS = re.compile(rf"(?:[{_OWN}]|[^\W{_OWN}]+|\S)\s*|\s+")
"""Words and marks with the blanks behind them; Chinese and Japanese, which set none, by letter."""
_MOST_WORDS = 1_500
"""Longer texts are not compared: the time grows with the square of their length."""
Piece = tuple[str, bool]
"""Text, and whether the other side has not got it."""
_MIN_TRACK = 8
_ENDS = {"stop": "", "length": ", cut at max_new_tokens", "stopped": ", stopped"}


class Samples(Pager):
    """The answers of one step, prompt by prompt; the latest until another step is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        quiet_key("samples-earlier", "left,h", "turn(-1)", "Earlier", "Answers of an earlier step"),
        quiet_key("samples-later", "right,l", "turn(1)", "Later", "Answers of a later step"),
    ]

    def __init__(self, *, is_ascii: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._is_ascii = is_ascii
        self._samples: Mapping[int, Sequence[Sample]] = {}
        self._selected: int | None = None

    @property
    def step(self) -> int | None:
        """The step whose answers are shown; None before the first ones."""
        if self._selected in self._samples:
            return self._selected
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
            self._selected = None if place == len(steps) - 1 else steps[place]
            self.redraw()

    def head(self, width: int) -> list[Row]:
        """The slider, and whose answers stand in which column."""
        if self.step is None:
            return [[("no sample yet", "dim")]]
        steps = sorted(self._samples)
        return [slider(steps, self.step, width, is_ascii=self._is_ascii), sides_row(width)]

    def lines(self, width: int) -> list[Row]:
        """Each prompt over its two answers."""
        rows: list[Row] = []
        for sample in self._samples[self.step] if self.step is not None else ():
            rows += wrapped(sample.prompt, "strong", width)
            rows += side_by_side(sample.base, sample.adapter, _column(width))
        return rows


def slider(steps: Sequence[int], selected: int, width: int, *, is_ascii: bool) -> Row:
    """The chosen step's number, and a track with a mark per step, placed by step."""
    count = f"{steps.index(selected) + 1} of {len(steps)}"
    room = width - len(f"step {selected}{count}") - 4
    spans: list[Span] = [("step ", "dim"), (str(selected), "strong"), _GAP]
    if len(steps) > 1 and room >= _MIN_TRACK:
        line, stop, here = ("-", "+", "O") if is_ascii else ("─", "┼", "●")
        first, reach = steps[0], max(1, steps[-1] - steps[0])
        track = [line] * room
        for step in steps:
            track[(step - first) * (room - 1) // reach] = stop
        at = (selected - first) * (room - 1) // reach
        left, right = "".join(track[:at]), "".join(track[at + 1 :])
        spans += [(left, "dim"), (here, "accent"), (right, "dim"), _GAP]
    return [*spans, (count, "dim")]


def sides_row(width: int) -> Row:
    """Whose answers stand in which column."""
    return [(fit("base", _column(width)) + _GAP[0], "dim"), ("adapter", "dim")]


def _column(width: int) -> int:
    return max(2, (width - len(_GAP[0])) // 2)


def side_by_side(left: str, right: str, column: int) -> list[Row]:
    """Two texts in columns of so many cells; what only one of them has stands out."""
    lefts, rights = words(sanitize(left), sanitize(right))
    rows = beside(_inked(lefts, "dim", column), _inked(rights, "good", column), column, _GAP)
    return [*rows, [("both say the same", "dim")]] if left == right else rows


def _inked(pieces: list[Piece], own: str, column: int) -> list[list[Span]]:
    return wrap_spans([(text, own if is_own else "") for text, is_own in pieces], column)


def words(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, by which words of each the other has not."""
    lefts, rights = _WORDS.findall(left), _WORDS.findall(right)
    if left == right or max(len(lefts), len(rights)) > _MOST_WORDS:
        return [(left, False)], [(right, False)]
    blocks = SequenceMatcher(None, lefts, rights, autojunk=False).get_matching_blocks()
    return (
        _pieces(lefts, ((block.a, block.size) for block in blocks)),
        _pieces(rights, ((block.b, block.size) for block in blocks)),
    )


def _pieces(parts: list[str], common: Iterable[tuple[int, int]]) -> list[Piece]:
    pieces: list[Piece] = []
    done = 0
    for start, size in common:
        own, shared = "".join(parts[done:start]), "".join(parts[start : start + size])
        pieces += [(text, is_own) for text, is_own in ((own, True), (shared, False)) if text]
        done = start + size
    return pieces


def talk_rows(talk: Chat, width: int) -> list[Row]:
    """Each prompt of a talk over its two answers."""
    if not talk.exchanges:
        return [[("what you ask is answered by both", "dim")]] if talk.opened else []
    return [row for exchange in talk.exchanges for row in _exchange(exchange, width)]


@lru_cache(maxsize=256)
def _exchange(exchange: Exchange, width: int) -> tuple[Row, ...]:
    """Differences are marked once both answers are whole."""
    column, base, adapter = _column(width), exchange.base, exchange.adapter
    rows = wrapped(exchange.prompt, "strong", width)
    if exchange.is_over and base.said and adapter.said:
        rows += side_by_side(base.said, adapter.said, column)
    else:
        rows += _plain_columns(base.said, adapter.said, "", column)
    return (*rows, *_plain_columns(_ending(base), _ending(adapter), "dim", column), [])


def _plain_columns(left: str, right: str, ink: str, column: int) -> list[Row]:
    pairs = zip_longest(wrap(left, column), wrap(right, column), fillvalue="")
    return [[(fit(left, column) + _GAP[0], ink), (right, ink)] for left, right in pairs]


def _ending(reply: Reply) -> str:
    """How an answer went."""
    if reply.reason == "failed":
        return f"failed: {sanitize_line(reply.error)}"
    rate = reply.tokens_per_s
    figures = f"{reply.tokens} tokens, {rate:.0f} tokens/s" if rate else "no token"
    if not reply.reason:
        return figures if rate else "..."
    return figures + _ENDS.get(reply.reason, "")


def talk_head(talk: Chat) -> list[Row]:
    """What the engine is at; then which adapter, in which numbers, how fast each side is."""
    if talk.opened is None:
        if talk.failed is not None:
            return []
        if talk.phase is not None:
            detail = sanitize_line(talk.phase.detail)
            return [[(talk.phase.name, "accent"), (f"  {detail} ...", "dim")]]
        waits = "the engine loads its libraries" if talk.is_started else "the engine starts"
        return [[("starting", "accent"), (f"  {waits} ...", "dim")]]
    opened = talk.opened
    step = opened.adapter if opened.step is None else f"step {opened.step}"
    numbers = opened.dtype if opened.quantization == "none" else opened.quantization
    row: list[Span] = [("adapter of ", "dim"), (sanitize_line(step), "strong"), ("   ", "")]
    for side in SIDES:
        rate = talk.rates.get(side)
        row += [(f"{side} ", "dim"), (f"{rate:.0f} " if rate else "- ", "")]
    # Where the line is too short, the model's name is what can be missed.
    model = f"{sanitize_line(opened.model)}, {opened.device} {numbers}"
    return [[*row, (f"tokens/s   {model}", "dim")]]
