"""A draft that is saved as a recipe of the user's own, in the current folder.

What is saved is the original's text with what is changed, and no more.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item

from engine.atomic import write_whole
from engine.problems import Refusal
from engine.recipe import files, own_paths, toml_document
from workbench.recipe_editor import recipe_facts
from workbench.recipe_editor.draft import Draft
from workbench.text import toml_text

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PATHS = {"path", "heldout"}


def name_problem(name: str) -> str:
    """Why a recipe can't be saved under that name; empty where it can."""
    if not _SAFE.fullmatch(name):
        return "Letters, digits, dots, dashes and underscores; a letter or digit first; at most 64"
    if name in files.names():
        return f"{name} comes with the project; take another name"
    if os.path.lexists(f"{name}.toml"):
        return f"{name}.toml is there already; take another name"
    return ""


def save(edited: Draft, name: str) -> str:
    """Write it into the current folder and return the recipe's name there. Raises `Refusal`."""
    path = Path(f"{name}.toml")
    if reason := name_problem(name):
        raise Refusal.of(str(path), reason, "Give a name that is free")
    try:
        write_whole(path, text_of(edited).encode(), mode=0o666)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Refusal.of(str(path), reason, "See whether the folder can be written to") from None
    return str(path)


def text_of(edited: Draft) -> str:
    """The text that means in the current folder what the draft means where it lies.

    Raises `Refusal` where no text with the original's comments does.
    """
    here = Path.cwd()
    try:
        document = tomlkit.parse(edited.text)
        lying_here = toml_document.settings(edited.text, here, [])
        _leave_out(document, lying_here, edited.document)
        _put(document, lying_here, edited)
        text = files.with_reachable_schema(document.as_string())
        is_same = toml_document.settings(text, here, []) == edited.document
    except (TOMLKitError, ValueError, KeyError, TypeError) as error:
        raise Refusal.of(edited.name, str(error), "Copy the file, and edit the copy") from None
    if not is_same:
        reason = "its copy in this folder would mean something else"
        raise Refusal.of(edited.name, reason, "Copy the file, and edit the copy")
    return text


def _leave_out(document: Any, here: dict[str, Any], remaining: dict[str, Any]) -> None:
    """Every section, and every key of one, that is there and not to be kept."""
    for section, table in here.items():
        if section not in remaining:
            del document[section]
        elif isinstance(table, dict):
            for key in table.keys() - remaining[section].keys():
                del document[section][key]


def _put(document: tomlkit.TOMLDocument, here: dict[str, Any], edited: Draft) -> None:
    """Every key that would not mean the same here: one that is changed, or a relative path."""
    for section, settings in edited.document.items():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            if section in here and here[section].get(key) == value and key in here[section]:
                continue
            if section not in document:
                document.append(section, tomlkit.table())
            table: Any = document[section]
            if isinstance(value, list) and key in table and len(table[key]) == len(value):
                _put_inside(table[key], here[section][key], value)
            else:
                setting = f"{section}.{key}"
                table[key] = _typed(setting, value, edited.changes.get(setting, ""))


def _put_inside(items: Any, here: list[Any], values: list[Any]) -> None:
    """The items that differ; of tables their keys, so that the comments between them stay."""
    for at, (old, new) in enumerate(zip(here, values, strict=True)):
        if isinstance(old, dict) and isinstance(new, dict):
            for gone in old.keys() - new.keys():
                del items[at][gone]
            for key, value in new.items():
                if key not in old or old[key] != value:
                    items[at][key] = _item(key, value)
        elif old != new:
            items[at] = new


def _typed(setting: str, value: Any, typed: str) -> Item:
    """The value as it was typed, where that is TOML and means it."""
    with contextlib.suppress(TOMLKitError):
        item = tomlkit.value(typed.strip())
        if own_paths.value_at(setting, item.unwrap(), Path.cwd()) == value:
            return item
    return _item(setting.rpartition(".")[2], value)


def _item(key: str, value: Any) -> Item:
    return tomlkit.value(toml_text.of_value(near(key, value)))


def near(key: str, value: Any) -> Any:
    """With paths below the current folder told from there."""
    if isinstance(value, list):
        return [near(key, item) for item in value]
    if isinstance(value, dict):
        return {name: near(name, inner) for name, inner in value.items()}
    return recipe_facts.near(value) if key in _PATHS and isinstance(value, str) else value
