"""What a format of rows is: how it is recognised and read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Turn, UnusableRow
from engine.guarded import Json

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A format of rows."""

    fits: Callable[[Record], bool]
    read: Callable[[Record], list[Turn]]
    columns: frozenset[str]
    """All that `read` looks at; what a row says beside them is told as unread."""
    unread: Callable[[Record], Iterable[str]] | None = None
    """Names of all that a row says and `read` doesn't look at, where columns alone don't tell."""
    notes: Callable[[Record], tuple[str, ...]] = lambda record: ()
    """What is worth a note about a row that is read."""


def words(content: Json) -> str:
    """Text as it stands; anything else is `UnusableRow`."""
    if isinstance(content, str):
        return content
    raise UnusableRow("content that is null" if content is None else "content that is not text")
