"""Rows of styled text: broken into lines, cut to a width, printed where there is no screen."""

from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from workbench.text.sanitize import sanitize

Span = tuple[str, str]
"""Text and its ink, a name of the palette."""
Row = Sequence[Span]
UNBROKEN = 10_000
"""A width for what is printed and may be copied: no line is broken."""
_CONSOLE = Console()
"""Rich asks for one to justify lines, which none here are."""
_CODES = {
    "loss": "32", "control": "1;36", "good": "1;36;32", "other": "7", "other loss": "32;7",
    "warn": "1;33",
}  # fmt: skip


def cells(row: Iterable[Span]) -> int:
    """Cells that a row takes."""
    return sum(cell_len(text) for text, _ in row)


def plain(row: Iterable[Span]) -> str:
    """The text alone."""
    return "".join(text for text, _ in row)


def coloured(row: Iterable[Span]) -> str:
    """The text with a terminal's codes for the inks that mark something."""
    return "".join(
        f"\x1b[{_CODES[ink]}m{text}\x1b[0m" if ink in _CODES else text for text, ink in row
    )


def runs(text: str, inks: Sequence[str]) -> list[Span]:
    """Neighbours of the same ink as one span."""
    pairs = groupby(zip(text, inks, strict=True), key=lambda pair: pair[1])
    return [("".join(char for char, _ in group), ink) for ink, group in pairs]


def wrap_spans(spans: Iterable[Span], width: int) -> list[list[Span]]:
    """Harmless text in lines of at most so many cells; line breaks stay, a last one is none."""
    lines = Text.assemble(*spans).wrap(_CONSOLE, max(2, width))
    broken = []
    for line in lines:
        inks = [""] * len(line)
        for start, end, ink in line.spans:
            inks[start:end] = [str(ink)] * (end - start)
        broken.append(runs(line.plain, inks))
    return broken if not broken or broken[-1] else broken[:-1]


def wrap(text: str, width: int) -> list[str]:
    """Harmless lines of at most so many cells, one at least; its own line breaks stay."""
    lines = Text(sanitize(text)).wrap(_CONSOLE, max(2, width))
    return [line.plain.rstrip() for line in lines]


def wrapped(text: str, ink: str, width: int, lead: Span = ("", "")) -> list[Row]:
    """A text in rows behind a lead, which takes as much room before the rows after the first."""
    indent = cell_len(lead[0])
    first, *rest = wrap(text, width - indent)
    return [[lead, (first, ink)], *([(" " * indent, ""), (line, ink)] for line in rest)]


def beside(left: Sequence[Row], right: Sequence[Row], width: int, gap: Span) -> list[Row]:
    """Rows in two columns; the left one takes so many cells."""
    pairs = zip_longest(left, right, fillvalue=())
    return [[*own, (" " * (width - cells(own)), ""), gap, *other] for own, other in pairs]


def fit(text: str, width: int) -> str:
    """The text in exactly so many cells, cut with an ellipsis or filled with blanks."""
    shown = sanitize(text).replace("\n", " ")
    if cell_len(shown) <= width:
        return shown + " " * (width - cell_len(shown))
    return set_cell_size(shown, max(0, width - 1)) + "…"[: max(0, width)]


def fit_end(text: str, width: int) -> str:
    """The end of the text in at most so many cells, cut with an ellipsis."""
    shown = sanitize(text).replace("\n", " ")
    if cell_len(shown) <= width:
        return shown
    end = shown[-width:] if width > 0 else ""
    while end and cell_len(end) >= width:
        end = end[1:]
    return "…"[: max(0, width)] + end
