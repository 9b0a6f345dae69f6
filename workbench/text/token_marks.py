"""Spans of a preview in inks, with brackets around what is marked where there is no colour."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from engine.sessions import preview
from engine.sessions.preview import Row as DataRow
from workbench.text.sanitize import sanitize
from workbench.text.styled import Span, wrap_spans

_LOSS, _DIFFERENT = {"loss", "good", "other loss"}, {"other", "other loss"}
"""Inks of what carries loss, and of what the other side has not."""


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How marks are made."""

    has_colour: bool
    has_unicode: bool

    @property
    def brackets(self) -> list[tuple[str, str]]:
        """Around what carries loss, and around what the other side has not."""
        if self.has_colour:
            return [("", ""), ("", "")]
        if self.has_unicode:
            return [("\u27e6", "\u27e7"), ("\u27ea", "\u27eb")]
        return [("[[", "]]"), ("{{", "}}")]

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
        (loss, end), (other, other_end) = self.brackets
        return [
            (f"{loss}carries loss{end}", "loss"),
            ("  ", ""),
            ("control token", "control"),
            ("  ", ""),
            (f"{other}the other side differs{other_end}", "other"),
        ]


def training(row: DataRow, width: int, style: TextStyle) -> list[list[Span]]:
    """What is trained on, in lines of at most so many cells."""
    spans: list[Span] = []
    num_tokens = 0
    for span in row.spans:
        spans.append(_inked(span, style))
        num_tokens += span.tokens
        if num_tokens == row.cut_at:
            cut = row.whole_tokens - len(row.input_ids)
            spans.append((f"[{cut} tokens cut here]", "warn"))
    return wrap_spans(_bracketed(spans, style), width)


def prompt(row: DataRow, width: int, style: TextStyle) -> list[list[Span]]:
    """The inference prompt, in lines of at most so many cells."""
    return wrap_spans(_bracketed([_inked(span, style) for span in row.prompt], style), width)


def _inked(span: preview.Span, style: TextStyle) -> Span:
    text = sanitize(span.text, len(span.text))
    if span.is_supervised or span.is_different:
        text = text.replace("\n", f"{style.newline}\n")
    if span.is_different:
        return text, "other loss" if span.is_supervised else "other"
    if span.is_supervised:
        return text, "good" if span.is_control else "loss"
    return text, "control" if span.is_control else ""


def _bracketed(spans: Iterable[Span], style: TextStyle) -> Iterator[Span]:
    """The spans, with brackets around neighbours that are marked alike."""
    for marks, group in groupby(spans, lambda span: (span[1] in _LOSS, span[1] in _DIFFERENT)):
        brackets = [pair for pair, is_so in zip(style.brackets, marks, strict=True) if is_so]
        yield from ((opening, "") for opening, _ in brackets)
        *most, (text, ink) = group
        yield from most
        # A bracket after a line break would stand on a line of its own.
        ends_line = not style.has_colour and bool(brackets) and text.endswith("\n")
        yield text.removesuffix("\n") if ends_line else text, ink
        yield from ((closing, "") for _, closing in reversed(brackets))
        if ends_line:
            yield "\n", ""
