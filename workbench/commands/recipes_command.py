"""`gemma-bench recipes`: those that come along and those of this folder, as a table or as JSON."""

import tomllib
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from engine import guarded
from engine.gemma.shapes import EMBEDDED
from engine.problems import ExitCode
from engine.recipe import files, nearby
from workbench.commands import options
from workbench.text import text_table
from workbench.text.sanitize import as_json

EXAMPLES = """\
  gemma-bench recipes                        their models, and the hardware they fit
  gemma-bench recipes --json                 the same for a program"""


def add_arguments(parser: ArgumentParser) -> None:
    """A table for people, or JSON."""
    options.add_json(parser, "one JSON object per recipe")


def run(arguments: Namespace) -> int:
    """Print them: the user's own first, as the app has them."""
    records = [_record(name) for name in (*nearby.recipes(), *files.names())]
    if arguments.json:
        for record in records:
            print(as_json(record))
        return ExitCode.DONE
    names = ("recipe", "model", "method", "fits", "what it is")
    text_table.say(names, [[record[key] for key in _COLUMNS] for record in records])
    return ExitCode.DONE


_COLUMNS = ("recipe", "model", "method", "hardware", "about")


def _record(name: str) -> dict[str, str]:
    """What its file says of itself; empty where it can't be read."""
    path = files.find(name)
    text, document = _read(path)
    model, adapter = (_table(document, section) for section in ("model", "adapter"))
    quantized = "" if model.get("quantization", "none") == "none" else "q"
    purpose, _, _ = files.purpose(text).partition(" Fits --hardware")
    return {
        "recipe": name,
        "path": str(path.resolve()),
        "model": str(model.get("path", EMBEDDED)) if document else "",
        "method": f"{quantized}{adapter.get('method', 'lora')}" if document else "",
        "hardware": files.hardware_in(text),
        "about": purpose if document else "it can't be read as TOML",
    }


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = guarded.contents(path, files.MAX_BYTES).decode("utf-8")
        return text, guarded.parsed_toml(text)
    except (OSError, ValueError, tomllib.TOMLDecodeError):
        return "", {}


def _table(document: dict[str, Any], section: str) -> dict[str, Any]:
    table = document.get(section)
    return table if isinstance(table, dict) else {}
