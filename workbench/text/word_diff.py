"""Two texts side by side: which words of each the other has not."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_OWN = "\u3040-\u30ff\u4e00-\u9fff"
_WORDS = re.compile(rf"(?:[{_OWN}]|[^\W{_OWN}]+|\S)\s*|\s+")
"""Words and marks with the blanks behind them; Chinese and Japanese, which set none, by letter."""
_MOST_WORDS = 1_500
"""Longer texts are not compared: the time grows with the square of their length."""
Piece = tuple[str, bool]
"""Text, and whether the other side has not got it."""


def words(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces."""
    lefts, rights = _WORDS.findall(left), _WORDS.findall(right)
    if left == right or max(len(lefts), len(rights)) > _MOST_WORDS:
        return [(left, False)], [(right, False)]
    blocks = SequenceMatcher(None, lefts, rights, autojunk=False).get_matching_blocks()
    return (
        _pieces(lefts, ((block.a, block.size) for block in blocks)),
        _pieces(rights, ((block.b, block.size) for block in blocks)),
    )


def _pieces(found: list[str], common: Iterable[tuple[int, int]]) -> list[Piece]:
    pieces: list[Piece] = []
    done = 0
    for start, size in common:
        own, shared = "".join(found[done:start]), "".join(found[start : start + size])
        pieces += [(text, is_own) for text, is_own in ((own, True), (shared, False)) if text]
        done = start + size
    return pieces
