"""What a text means that somebody typed as the value of a key: `--set KEY=TEXT`, or in the app.

It is TOML, or else whatever the key can take: a path or a dataset's name as a source, plain text as
a list of one, a bare word as itself.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from engine import guarded
from engine.gemma import lora_targets
from engine.guarded import Json
from engine.recipe import data_files, own_paths
from engine.recipe.schema import SECTIONS, Recipe, Source

NOTHING = "none"
"""Typed for a section, or for a key that needs no value, it leaves that out."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_PAGE = re.compile(r"https?://(?:www\.)?huggingface\.co/(?:datasets/)?([\w.-]+/[\w.-]+)/?")
_ALL_TARGETS = {"all", "all-linear"}
"""What LLaMA-Factory and PEFT call every linear layer of the language model."""
_BOOLS = {
    **dict.fromkeys(("true", "yes", "on"), True), **dict.fromkeys(("false", "no", "off"), False),
}  # fmt: skip


def leaves_out(key: str, text: str) -> bool:
    """Whether it says that a section or a key is to be left out."""
    if text.strip() != NOTHING:
        return False
    return key in SECTIONS or NoneType in _kinds(_annotation(key))


def read(key: str, text: str, folder: Path) -> Any:
    """The value, with paths that are relative to `folder` made absolute.

    What can't be meant by the key is given as TOML has it, for the schema to refuse. Raises
    `ValueError` where it is out of the bounds of what is read.
    """
    text = text.strip()
    try:
        value = guarded.parsed_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    except guarded.Unreadable as error:
        raise ValueError(f"{text[:40]}...: {error}") from None
    kinds = _kinds(_annotation(key))
    return own_paths.value_at(key, _meant(kinds, text, value, folder), folder)


def _meant(kinds: list[Any], text: str, value: Json, folder: Path) -> Any:
    """A value as one of the kinds that a key takes."""
    if kinds == [Source]:
        return _source(value, folder)
    if tuple[Source, ...] in kinds:
        return _sources(text, value, folder)
    if tuple[str, ...] in kinds and not isinstance(value, list):
        return _words(kinds, text, value)
    if (is_so := _BOOLS.get(text.casefold())) is not None and not {bool, True}.isdisjoint(kinds):
        return is_so
    if not isinstance(value, bool) and (number := _number(kinds, value)) is not None:
        return number
    is_text = str in kinds or any(isinstance(kind, str) for kind in kinds)
    return text if is_text and not isinstance(value, str | list | dict) else value


def _sources(text: str, value: Any, folder: Path) -> Any:
    """Rows of files and datasets: one that is named, or a list of them."""
    if not text:
        return []
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | dict) for item in items):
        items = [text]
    return [_source(item, folder) for item in items]


def _source(item: Json, folder: Path) -> Any:
    """A path that is there, or a pattern, is one; else owner/name is a dataset's id."""
    if not isinstance(item, str):
        return item
    if page := _HUB_PAGE.fullmatch(item):
        return {"id": page[1]}
    there = own_paths.located(item, folder)
    is_path = os.path.exists(there) or os.path.exists(os.path.dirname(there))
    if is_path or data_files.is_rows(Path(item)) or not HUB_ID.fullmatch(item):
        return {"path": item}
    return {"id": item}


def _words(kinds: list[Any], text: str, value: Json) -> Any:
    """A list of texts from one; of projections also by their names alone."""
    if not text:
        return []
    if str not in kinds:
        return [value if isinstance(value, str) else text]
    names = [name for name in re.split(r"[,\s]+", text) if name]
    if {*names} <= _ALL_TARGETS:
        return [*lora_targets.ATTENTION, *lora_targets.MLP]
    return names if {*names} <= {*lora_targets.PROJECTIONS} else value


def _number(kinds: list[Any], value: Json) -> int | float | None:
    """A number where one is meant: 1e3 may be a count, and 1e-4 one that YAML takes for text."""
    if {int, float}.isdisjoint(kinds) or not isinstance(value, int | float | str):
        return None
    try:
        number = value if isinstance(value, int) else float(value)
        is_count = isinstance(value, int) or float not in kinds
        return int(number) if int in kinds and is_count and number == int(number) else number
    except (ValueError, OverflowError):
        return None


def _annotation(key: str) -> Any:
    """The type of a dotted key, through lists by place and through tables; None of an unknown."""
    annotation: Any = Recipe
    for name in key.split("."):
        annotation = next(iter(_inside(annotation, name)), None)
    return annotation


def _inside(annotation: Any, name: str) -> Iterator[Any]:
    for kind in _kinds(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields:
            yield kind.model_fields[name].annotation
        elif get_origin(kind) is dict or (get_origin(kind) is tuple and name.isdigit()):
            yield get_args(kind)[-1 if get_origin(kind) is dict else 0]


def _kinds(annotation: Any) -> list[Any]:
    """The types, and the single values, that an annotation allows."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for one in get_args(annotation) for kind in _kinds(one)]
    return [*get_args(annotation)] if get_origin(annotation) is Literal else [annotation]
