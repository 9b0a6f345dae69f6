"""Every key of a recipe, with its value, whose it is, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

import tomlkit
from pydantic.fields import FieldInfo
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Table

from engine.gemma import lora_targets
from engine.problems import Problem
from engine.recipe import dotted, schema
from workbench.recipe_editor import draft
from workbench.recipe_editor.draft import Draft
from workbench.text.styled import Row, wrapped

Origin = Literal["default", "recipe", "changed"]
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_LIST = 'text, or a list: ["one", "two"]'
_SOURCES = "a file, a folder, owner/name on the hub, or a list of these or of tables"
BOOLS = ("false", "true")


@dataclass(frozen=True, slots=True)
class Key:
    """One key as a list shows it; texts are as --set takes them."""

    name: str
    """Dotted."""
    text: str
    origin: Origin
    own: str
    """What it is without the change."""
    default: str
    comment: str
    """The recipe's comment, or the schema's word."""
    kind: str
    choices: tuple[str, ...] = ()
    """All values it can take, where these are few."""


def of_draft(edited: Draft) -> list[Key]:
    """All keys, section by section, in the schema's order."""
    comments = comments_of(edited.text)
    return [_key(edited, name, field, comments) for name, field in schema.FIELDS.items()]


def _key(edited: Draft, name: str, field: FieldInfo, comments: dict[str, str]) -> Key:
    own = draft.setting_of(edited.own, name)
    is_set = dotted.get(edited.own, name) is not None
    origin: Origin = "recipe" if is_set else "default"
    return Key(
        name,
        edited.changes.get(name, own),
        "changed" if name in edited.changes else origin,
        own,
        draft.setting_of({}, name),
        comments.get(name) or field.description or "",
        _kind(field.annotation),
        _choices(field.annotation),
    )


def _choices(annotation: Any) -> tuple[str, ...]:
    if annotation is bool:
        return BOOLS
    return tuple(map(_word, get_args(annotation))) if get_origin(annotation) is Literal else ()


def _word(choice: Any) -> str:
    """A choice as --set takes it."""
    return BOOLS[choice] if isinstance(choice, bool) else str(choice)


def _kind(annotation: Any) -> str:
    if annotation == get_args(lora_targets.Targets)[0]:
        return 'a list: ["one", "two"], or one regular expression'
    if get_origin(annotation) is tuple:
        return _LIST if get_args(annotation)[0] is str else _SOURCES
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(_choices(annotation))}"
    return next((kind for of, kind in _KINDS.items() if of in (annotation, *get_args(annotation))))


def help_rows(key: Key, problems: Sequence[Problem], width: int) -> list[Row]:
    """What is wrong with a value, which is why one looks here; the comment, kind and default."""
    rows: list[Row] = []
    for problem in problems:
        elsewhere = "" if draft.is_of(problem, key.name) else f"{problem.key}: "
        rows += wrapped(f"{elsewhere}{problem.reason}", "bad", width)
        if not elsewhere and problem.fix.startswith(("Did", "Choose")):
            rows += wrapped(problem.fix, "accent", width)
    rows += wrapped(key.comment, "", width) if key.comment else []
    default = f", {key.default} by default" if key.default else ""
    return [*rows, *wrapped(f"{key.kind}{default}", "dim", width)]


@lru_cache(maxsize=8)
def comments_of(text: str) -> dict[str, str]:
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
        comment = " ".join([*above, _words(beside)]).strip()
        if comment and not isinstance(item, Table):
            yield name, comment
        above = []


def _words(comment: str) -> str:
    return comment.strip().lstrip("#").strip()
