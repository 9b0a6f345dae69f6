"""Text in pieces of several styles, broken into lines that fit a width in cells."""

from collections.abc import Iterable
from itertools import groupby
from typing import TypeVar

from rich.cells import cell_len

S = TypeVar("S")
Piece = tuple[str, S]
"""Harmless text, and its style."""


def lines(pieces: Iterable[Piece[S]], width: int) -> list[list[Piece[S]]]:
    """Lines of at most so many cells, broken at blanks where it can be; line breaks stay."""
    broken: list[list[Piece[S]]] = [[]]
    cells = 0
    for letter, style in ((letter, style) for text, style in pieces for letter in text):
        if letter == "\n":
            broken.append([])
            cells = 0
            continue
        if cells + cell_len(letter) > width:
            broken.append(_last_word(broken[-1]))
            cells = length(broken[-1])
        broken[-1].append((letter, style))
        cells += cell_len(letter)
    return [_merged(line) for line in broken if line or line is not broken[-1]]


def length(line: Iterable[Piece[S]]) -> int:
    """Cells that a line takes."""
    return sum(cell_len(text) for text, _ in line)


def _last_word(line: list[Piece[S]]) -> list[Piece[S]]:
    """Taken off the line; nothing where the word is long."""
    blanks = (place for place in range(len(line) - 1, -1, -1) if line[place][0] == " ")
    begin = next(blanks, 0) + 1
    if begin < len(line) // 2:
        return []
    word = line[begin:]
    del line[begin:]
    return word


def _merged(line: list[Piece[S]]) -> list[Piece[S]]:
    """Neighbours of one style as one piece."""
    groups = groupby(line, lambda piece: piece[1])
    return [("".join(text for text, _ in group), style) for style, group in groups]
