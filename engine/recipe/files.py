"""Where the recipes that come with the project lie, and what their names and first comments say."""

import itertools
import re
from pathlib import Path

from engine.paths import RECIPE_SCHEMA, RECIPES

QUICKSTART = "quickstart"
SCHEMA_DIRECTIVE = "#:schema "
"""What a line begins with that names the file's JSON schema to an editor, as Taplo reads it
(https://taplo.tamasfe.dev/configuration/directives.html)."""
MAX_BYTES = 1 << 18
"""Of a recipe; one with its prompts has a thousandth of it."""
_OF_GEMMA = re.compile(r"gemma(\d)-e?(\d+)([mb])-")
"""Generation and size at the head of a recipe's name: gemma3-270m-, gemma4-e2b-."""
_FITS = re.compile(r"^# Fits --hardware (\S+)\.$", re.MULTILINE)


def find(name: str) -> Path:
    """The file of a recipe given by name (as under recipes/) or by path; it need not exist."""
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    return RECIPES / f"{name}.toml"


def names() -> list[str]:
    """Names of the recipes that come with the project: the one to begin with, then small to large
    within a generation of Gemma."""
    return sorted((path.stem for path in RECIPES.glob("*.toml")), key=_place)


def family(name: str) -> str:
    """The generation that a recipe's name begins with, such as "Gemma 3"; empty where none."""
    match = _OF_GEMMA.match(name)
    return f"Gemma {match[1]}" if match else ""


def hardware_of(name: str) -> str:
    """The hardware profile that a recipe of the project says it fits; empty where it says none."""
    return hardware_in(find(name).read_text("utf-8"))


def hardware_in(text: str) -> str:
    """The hardware profile that a recipe's text says it fits; empty where it says none."""
    match = _FITS.search(text)
    return match[1] if match else ""


def purpose(text: str) -> str:
    """What a recipe's opening comment says of it."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = (line for line in lines if not line.startswith(SCHEMA_DIRECTIVE))
    return " ".join(line.lstrip("# ").rstrip() for line in comment)


def with_reachable_schema(text: str) -> str:
    """A recipe of the project as it is to stand elsewhere: its schema named by where it lies."""
    beside = f"{SCHEMA_DIRECTIVE}{RECIPE_SCHEMA.name}\n"
    if not text.startswith(beside):
        return text
    return f"{SCHEMA_DIRECTIVE}{RECIPE_SCHEMA.as_uri()}\n{text.removeprefix(beside)}"


def _place(name: str) -> tuple[bool, str, int, str]:
    match = _OF_GEMMA.match(name)
    millions = int(match[2]) * (1000 if match[3] == "b" else 1) if match else 0
    return name != QUICKSTART, family(name), millions, name
