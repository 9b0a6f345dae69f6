"""The one filter of all lists: what holds the words that are typed, else what is like them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from textual.fuzzy import FuzzySearch

_MOST_WAYS = 2_000
"""Textual scores every way in which letters can be found, which may be millions."""
T = TypeVar("T")


def narrowed(entries: Sequence[T], words: str, text_of: Callable[[T], str]) -> list[T]:
    """The entries whose text holds every word, in their order.

    Where none does: those that have the letters of every word, in order, within a word of theirs.
    """
    terms = words.casefold().split()
    texts = [text_of(entry).casefold() for entry in entries]
    pairs = [*zip(entries, texts, strict=True)]
    literal = [entry for entry, text in pairs if all(term in text for term in terms)]
    if literal:
        return literal
    return [entry for entry, text in pairs if all(_is_like(term, text) for term in terms)]


def _is_like(term: str, text: str) -> bool:
    return any(_score(term, word) > 0 for word in text.split())


def _score(term: str, word: str) -> float:
    ways = [1] + [0] * len(term)
    for letter in word:
        for at in range(len(term), 0, -1):
            ways[at] += ways[at - 1] if term[at - 1] == letter else 0
    if ways[-1] == 0 or ways[-1] > _MOST_WAYS:
        return float(ways[-1] > 0)
    return _search().match(term, word)[0]


@lru_cache(maxsize=1)
def _search() -> "FuzzySearch":
    from textual.fuzzy import FuzzySearch

    return FuzzySearch()
