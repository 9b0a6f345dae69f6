"""What a recipe says of its own keys: the comment above each, or beside it."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Table


@lru_cache(maxsize=8)
def of_text(text: str) -> dict[str, str]:
    """Comments by dotted key; none of a text that isn't TOML."""
    try:
        return dict(_comments(tomlkit.parse(text).body, ""))
    except TOMLKitError:
        return {}


def _comments(body: list[tuple[Any, Any]], outer: str) -> Iterator[tuple[str, str]]:
    """A blank line parts a comment from the key below it."""
    above: list[str] = []
    for key, item in body:
        if key is None:
            above = [*above, _words(item.as_string())] if isinstance(item, Comment) else []
            continue
        name = f"{outer}{key.key}"
        if isinstance(item, Table):
            yield from _comments(item.value.body, f"{name}.")
        beside = getattr(item.trivia, "comment", "")
        told = " ".join([*above, _words(beside)]).strip()
        if told and not isinstance(item, Table):
            yield name, told
        above = []


def _words(comment: str) -> str:
    return comment.strip().lstrip("#").strip()
