"""A recipe as plain data: its TOML, what was typed over it, and its paths made absolute.

Paths in a recipe file are relative to that file; typed ones to the current folder.
"""

from pathlib import Path
from typing import Any

from engine import guarded
from engine.recipe import dotted, own_paths, typed_value


def settings(text: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The document of a recipe with overrides applied and its paths made absolute.

    Raises `tomllib.TOMLDecodeError` where the text isn't TOML, `guarded.Unreadable` where it is out
    of bounds, and `ValueError` where an override isn't KEY=VALUE or goes through something that is
    no table.
    """
    document = own_paths.absolute(guarded.parsed_toml(text), folder)
    override(document, overrides)
    return document


def override(document: dict[str, Any], overrides: list[str]) -> None:
    """Change keys of a document. Raises `ValueError` as above."""
    for setting in overrides:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"{setting!r} is not KEY=VALUE")
        if typed_value.leaves_out(key, text):
            dotted.remove(document, key)
        else:
            dotted.put(document, key, typed_value.read(key, text, Path.cwd()))
