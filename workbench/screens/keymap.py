"""Every key of the app by its binding's id, and what is wrong with a keymap of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys, key_to_character
from textual.widgets import Input

import workbench.screens
import workbench.widgets
from engine import likeness
from workbench.screens.bench_screen import BenchScreen

_MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
_NAMED = {*(key.value for key in Keys), "space", "minus", "plus", "slash", "comma", "colon"}


class PlacedKey(NamedTuple):
    """A key where it works."""

    place: type[DOMNode]
    binding: Binding


@lru_cache(maxsize=1)
def every_key(app: type[DOMNode]) -> tuple[PlacedKey, ...]:
    """Those of the app, of its screens and of what lies on them; a binding of two keys is two."""
    places: list[type[DOMNode]] = [app, *_places()]
    return tuple(
        PlacedKey(place, binding)
        for place in places
        for binding in Binding.make_bindings(vars(place).get("BINDINGS", ()))
    )


def _places() -> Iterator[type[DOMNode]]:
    for room in (workbench.screens, workbench.widgets):
        for info in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            for value in vars(importlib.import_module(info.name)).values():
                is_place = isinstance(value, type) and issubclass(value, DOMNode)
                if is_place and value.__module__ == info.name:
                    yield value


def elsewhere(app: type[DOMNode], keymap: Mapping[str, str], key: str, here: object) -> str:
    """On which other screens a key does what, as `new run: Start, run: Save now`."""
    uses = {
        (place.NAME, binding.description)
        for place, binding in every_key(app)
        if key in keymap.get(binding.id or "", binding.key).split(",")
        and issubclass(place, BenchScreen)
        and place is not type(here)
        if binding.description and hasattr(place, "NAME")
    }
    return ", ".join(f"{name}: {does}" for name, does in sorted(uses))


def checked(app: type[DOMNode], keymap: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What can be used of a keymap, and what is wrong with the rest."""
    every = every_key(app)
    ids = {placed.binding.id or "" for placed in every}
    typed = {one.id for place, one in every if issubclass(place, Input)}
    right: dict[str, str] = {}
    problems: list[str] = []
    for id, keys in keymap.items():
        if id not in ids:
            problems.append(f"keymap.{id}: no key has that id. {_ids_alike(id, ids)}")
        elif wrong := next(filter(None, (_wrong(key, id in typed) for key in _parts(keys))), ""):
            problems.append(f"keymap.{id} = {keys!r}: {wrong}")
        else:
            bindings = Binding.make_bindings([Binding(keys, "", "")])
            right[id] = ",".join(binding.key for binding in bindings)
    for id, problem in _clashes(every, right):
        problems.append(problem)
        right.pop(id, None)
    return right, problems


def _ids_alike(id: str, ids: set[str]) -> str:
    """The ids that may have been meant; all of them where none is like it."""
    alike = likeness.question(id, sorted(ids))
    family = sorted(one for one in ids if one.partition("-")[0] == id.partition("-")[0])
    listed = family or sorted(ids)
    return f"{alike} Known: {', '.join(listed)}".strip()


def _parts(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",")]


def _wrong(key: str, is_of_line: bool) -> str:
    """What is wrong with a key; empty for nothing. A line that is typed takes every letter."""
    *modifiers, name = key.split("+") if len(key) > 1 else (key,)
    is_key = len(name) == 1 or name in _NAMED or key_to_character(name) is not None
    if not set(modifiers) <= _MODIFIERS or not is_key:
        names = [*_NAMED, *(f"ctrl+{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
        alike = likeness.question(key, sorted(names))
        form = "A key is a character, or a name such as enter, f5, ctrl+k, shift+left"
        return f"there is no key {key!r}. {alike} {form}".replace("  ", " ")
    if modifiers == ["shift"] and len(name) == 1:
        return f"terminals send the character itself. Write {name.upper()!r}"
    if is_of_line and not modifiers and (len(name) == 1 or key_to_character(name) is not None):
        return "it is typed into the line. Take one with ctrl, or a name such as f5"
    return ""


def _clashes(every: Sequence[PlacedKey], keymap: Mapping[str, str]) -> list[tuple[str, str]]:
    """Ids whose key does something else in the same place, and what that is."""
    problems: dict[str, str] = {}
    by_place = {
        place: [one.binding for one in keys]
        for place, keys in groupby(every, key=lambda placed: placed.place)
    }
    app_keys = next(iter(by_place.values()))
    for place in by_place:
        inherited = [keys for base in place.__mro__ for keys in [by_place.get(base, [])]]
        bindings = [*(binding for keys in inherited for binding in keys)]
        if issubclass(place, BenchScreen):
            bindings += app_keys
        uses: dict[str, set[str]] = {}
        for binding in bindings:
            id = binding.id or ""
            for key in keymap.get(id, binding.key).split(","):
                uses.setdefault(key, set()).add(id)
        for key, ids in uses.items():
            for id in sorted(ids & keymap.keys()):
                others = sorted(ids - {id})
                if others:
                    names = " and ".join(others)
                    problems[id] = (
                        f"keymap.{id} = {keymap[id]!r}: {key} is {names} there. "
                        f"Give {names} another key, or take another here"
                    )
    return [*problems.items()]
