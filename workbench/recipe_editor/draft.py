"""A recipe with changes to its keys, each in the words that --set takes."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine import guarded
from engine.problems import Problem
from engine.recipe import dotted, files, schema, toml_document, validate
from workbench.text import toml_text

Changes = dict[str, str]
"""Values by dotted key."""


def overrides(changes: Changes) -> list[str]:
    """The changes as --set takes them."""
    return [f"{key}={text}" for key, text in changes.items()]


@dataclass(frozen=True)
class Draft:
    """Nothing here is written to disk; a change gives another draft."""

    name: str
    text: str
    """The recipe's file, as it stands."""
    changes: Changes

    @cached_property
    def own(self) -> dict[str, Any]:
        """The recipe's document without the changes."""
        return toml_document.settings(self.text, self.folder, [])

    @cached_property
    def document(self) -> dict[str, Any]:
        """The recipe's document with them."""
        return toml_document.settings(self.text, self.folder, overrides(self.changes))

    @property
    def folder(self) -> Path:
        """What the recipe's own paths begin at."""
        return files.find(self.name).resolve().parent

    def changed(self, key: str, text: str) -> Draft:
        """The draft with another value; the recipe's own, or none at all, is no change."""
        others = {name: value for name, value in self.changes.items() if name != key}
        changed = replace(self, changes={**others, key: text})
        is_own = not text.strip() or setting_of(changed.document, key) == setting_of(self.own, key)
        return replace(self, changes=others) if is_own else changed

    def wrong(self, key: str, text: str) -> list[Problem]:
        """What would be wrong with a value of that key, and what it would break elsewhere."""
        if not text.strip():
            return []
        try:
            changed = replace(self, changes={**self.changes, key: text}).document
        except ValueError as error:
            return [Problem(key, "", str(error), "Mend the recipe's file")]
        before = set(validate.problems(self.document))
        return [
            problem
            for problem in validate.problems(changed)
            if problem not in before or is_of(problem, key)
        ]


def is_of(problem: Problem, key: str) -> bool:
    """Whether a problem is one of the key's own value."""
    return problem.key == key or problem.key.startswith(f"{key}.")


def read(name: str, changes: Changes) -> Draft | None:
    """The draft of a recipe; None where its file can't be read as tables of settings."""
    try:
        text = guarded.contents(files.find(name), files.MAX_BYTES).decode("utf-8")
        draft = Draft(name, text, changes)
        sections = (draft.document.get(section, {}) for section in schema.SECTIONS)
        return draft if all(isinstance(section, dict) for section in sections) else None
    except (OSError, ValueError, tomllib.TOMLDecodeError):
        return None


def setting_of(document: dict[str, Any], key: str) -> str:
    """The value of a dotted key, else its default, as --set takes it; empty where it has none."""
    value = dotted.get(document, key)
    if value is None:
        field = schema.FIELDS[key]
        value = None if field.is_required() else field.get_default()
    return toml_text.of_setting(value)
