"""Which of some names a word is like, for what was mistyped, shortened or spelt otherwise."""

import difflib
from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """The names that a word is like, two at most: those that are it but for case and punctuation,
    else those that begin with it, else the most similar one, else those that hold it."""
    by_name = {name: _letters(name) for name in names}
    letters = _letters(word)
    if not letters:
        return []
    alike = [name for name, plain in by_name.items() if plain == letters]
    alike = alike or [name for name, plain in by_name.items() if plain.startswith(letters)]
    if not alike:
        similar = difflib.get_close_matches(letters, by_name.values(), 1)
        alike = [name for name, plain in by_name.items() if plain in similar]
    return (alike or [name for name, plain in by_name.items() if letters in plain])[:2]


def question(word: str, names: Iterable[str]) -> str:
    """Did you mean this or that; empty where nothing is alike."""
    alike = nearest(word, names)
    return f"Did you mean {' or '.join(alike)}?" if alike else ""


def _letters(name: str) -> str:
    """A name without case and punctuation."""
    return "".join(char for char in name.casefold() if char.isalnum())
