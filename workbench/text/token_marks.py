"""Spans of a preview in inks, with brackets around what is marked where there is no colour."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from engine.sessions import preview
from engine.sessions.preview import Row as DataRow
from workbench.text.sanitize import clean
from workbench.text.styled import Span, wrap_spans

_LOSS, _DIFFERENT = 1, 2
_INKS = {
    # carries loss and differs, is a control token
    (0, False): "",
    (0, True): "control",
    (_LOSS, False): "loss",
    (_LOSS, True): "good",
    (_DIFFERENT, False): "other",
    (_DIFFERENT, True): "other",
    (_LOSS | _DIFFERENT, False): "other loss",
    (_LOSS | _DIFFERENT, True): "other loss",
}
_Piece = tuple[Span, int]
"""Harmless text in its ink, and what of loss and difference it is marked with."""


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How marks are made."""

    has_colour: bool
    has_unicode: bool

    @property
    def brackets(self) -> dict[int, tuple[str, str]]:
        """Around what carries loss, and around what the other side has not."""
        if self.has_colour:
            return {_LOSS: ("", ""), _DIFFERENT: ("", "")}
        if self.has_unicode:
            return {_LOSS: ("\u27e6", "\u27e7"), _DIFFERENT: ("\u27ea", "\u27eb")}
        return {_LOSS: ("[[", "]]"), _DIFFERENT: ("{{", "}}")}

    @property
    def newline(self) -> str:
        """A line break that is marked."""
        return "\u21b5" if self.has_unicode else "\\n"

    @property
    def block(self) -> str:
        """One cell of a bar."""
        return "\u2588" if self.has_unicode else "#"

    @property
    def legend(self) -> list[Span]:
        """What the marks mean."""
        (loss, end), (other, other_end) = self.brackets.values()
        return [
            (f"{loss}carries loss{end}", "loss"),
            ("  ", ""),
            ("control token", "control"),
            ("  ", ""),
            (f"{other}the other side differs{other_end}", "other"),
        ]


def training(row: DataRow, width: int, style: TextStyle) -> list[list[Span]]:
    """What is trained on, in lines of at most so many cells."""
    pieces: list[_Piece] = []
    seen = 0
    for span in row.spans:
        pieces.append(_piece(span, style))
        seen += span.tokens
        if seen == row.cut_at:
            cut = row.whole_tokens - len(row.input_ids)
            pieces.append(((f"[{cut} tokens cut here]", "warn"), 0))
    return wrap_spans(_bracketed(pieces, style), width)


def prompt(row: DataRow, width: int, style: TextStyle) -> list[list[Span]]:
    """The inference prompt, in lines of at most so many cells."""
    return wrap_spans(_bracketed([_piece(span, style) for span in row.prompt], style), width)


def _piece(span: preview.Span, style: TextStyle) -> _Piece:
    marks = _LOSS * span.is_supervised + _DIFFERENT * span.is_different
    text = clean(span.text, len(span.text))
    if marks:
        text = text.replace("\n", f"{style.newline}\n")
    return (text, _INKS[marks, span.is_control]), marks


def _bracketed(pieces: Iterable[_Piece], style: TextStyle) -> Iterator[Span]:
    for marks, group in groupby(pieces, lambda piece: piece[1]):
        brackets = [pair for mark, pair in style.brackets.items() if mark & marks]
        yield from ((opening, "") for opening, _ in brackets)
        *most, (text, ink) = (span for span, _ in group)
        yield from most
        # A bracket after a line break would stand on a line of its own.
        ends_line = not style.has_colour and bool(brackets) and text.endswith("\n")
        yield text.removesuffix("\n") if ends_line else text, ink
        yield from ((closing, "") for _, closing in reversed(brackets))
        if ends_line:
            yield "\n", ""
