"""Spans of a preview on a terminal: broken into lines, marked by colour, or by brackets without."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from engine.sessions.preview import Row, Span
from workbench.text import wrap_styled
from workbench.text.sanitize import clean


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How marks are made."""

    has_colour: bool
    has_unicode: bool

    @property
    def legend(self) -> str:
        """What the marks mean."""
        if self.has_colour:
            words = (("carries loss", 1), ("control token", 2), ("differs from the other side", 4))
            return ", ".join(_painted(text, style) for text, style in words)
        loss, other = self.loss, self.difference
        return f"{loss[0]}carries loss{loss[1]}, {other[0]}differs from the other side{other[1]}"

    @property
    def loss(self) -> tuple[str, str]:
        """Brackets around what carries loss."""
        return ("\u27e6", "\u27e7") if self.has_unicode else ("[[", "]]")

    @property
    def difference(self) -> tuple[str, str]:
        """Brackets around what the other side has not."""
        return ("\u27ea", "\u27eb") if self.has_unicode else ("{{", "}}")

    @property
    def newline(self) -> str:
        """A line break that is marked."""
        return "\u21b5" if self.has_unicode else "\\n"

    @property
    def block(self) -> str:
        """One cell of a bar."""
        return "\u2588" if self.has_unicode else "#"


LOSS, CONTROL, DIFFERENT, CUT = 1, 2, 4, 8
_CODES = {CONTROL: "1;36", LOSS: "32", DIFFERENT: "7", CUT: "1;33"}
Piece = tuple[str, int]
"""Harmless text, and its style: a sum of the above."""
Line = list[Piece]


def _painted(text: str, style: int) -> str:
    codes = ";".join(code for flag, code in _CODES.items() if style & flag)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def training_lines(row: Row, width: int, ink: TextStyle) -> list[str]:
    """What is trained on, in lines of exactly so many cells."""
    return [_filled(line, width, ink) for line in training(row, width, ink)]


def prompt_lines(row: Row, width: int, ink: TextStyle) -> list[str]:
    """The inference prompt, in lines of exactly so many cells."""
    return [_filled(line, width, ink) for line in prompt(row, width, ink)]


def training(row: Row, width: int, ink: TextStyle) -> list[Line]:
    """What is trained on, in lines of at most so many cells."""
    pieces: list[Piece] = []
    seen = 0
    groups = groupby(row.spans, lambda span: (span.is_supervised, span.is_different))
    for _, group in groups:
        for span in group:
            pieces += _pieces(span, ink)
            seen += span.tokens
            if seen == row.cut_at:
                cut = row.whole_tokens - len(row.input_ids)
                pieces.append((f"[{cut} tokens cut here]", CUT))
    return wrap_styled.lines(_joined(pieces, ink), width)


def prompt(row: Row, width: int, ink: TextStyle) -> list[Line]:
    """The inference prompt, in lines of at most so many cells."""
    pieces = [piece for span in row.prompt for piece in _pieces(span, ink)]
    return wrap_styled.lines(_joined(pieces, ink), width)


def _pieces(span: Span, ink: TextStyle) -> list[Piece]:
    style = LOSS * span.is_supervised + CONTROL * span.is_control
    style += DIFFERENT * span.is_different
    text = clean(span.text, len(span.text))
    if style & (LOSS | DIFFERENT):
        text = text.replace("\n", f"{ink.newline}\n")
    return [(text, style)]


def _joined(pieces: Iterable[Piece], ink: TextStyle) -> Iterator[Piece]:
    """The pieces, with brackets around those that carry loss or differ where there is no colour."""
    for kind, group in groupby(pieces, lambda piece: piece[1] & (LOSS | DIFFERENT)):
        brackets = [ink.loss] * bool(kind & LOSS) + [ink.difference] * bool(kind & DIFFERENT)
        brackets = [] if ink.has_colour else brackets
        yield from ((opening, 0) for opening, _ in brackets)
        *most, (text, style) = group
        yield from most
        # A bracket after a line break would stand on a line of its own.
        ends_line = bool(brackets) and text.endswith("\n")
        yield text.removesuffix("\n") if ends_line else text, style
        yield from ((closing, 0) for _, closing in reversed(brackets))
        if ends_line:
            yield "\n", 0


def _filled(line: Line, width: int, ink: TextStyle) -> str:
    written = "".join(_painted(*piece) if ink.has_colour else piece[0] for piece in line)
    return written + " " * (width - wrap_styled.length(line))
