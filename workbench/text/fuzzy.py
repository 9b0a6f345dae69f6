"""The one filter of all lists: what holds the words that are typed, else what is like them."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

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
    return any(_has_in_order(term, iter(word)) for word in text.split())


def _has_in_order(letters: str, word: Iterator[str]) -> bool:
    return all(letter in word for letter in letters)
