"""What prepared rows depend on beside the rows and the recipe: the code that makes them."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from engine import installed

_ENGINE = Path(__file__).resolve().parents[1]
ROOMS = tuple(_ENGINE / room for room in ("data", "gemma", "recipe"))
_PACKAGES = ("transformers", "tokenizers", "trl", "jinja2", "pyarrow", "datasets", "pillow")


def digest(rooms: Sequence[Path]) -> str:
    """SHA-256 of all code and tables in folders, and of the versions of the packages they use."""
    total = hashlib.sha256()
    for package in _PACKAGES:
        total.update(f"{package} {installed.version(package)}\n".encode())
    for room in rooms:
        for file in sorted(room.rglob("*")):
            if file.suffix in {".py", ".toml"}:
                contents = hashlib.sha256(file.read_bytes()).hexdigest()
                total.update(f"{room.name}/{file.relative_to(room)} {contents}\n".encode())
    return total.hexdigest()


@cache
def code_version() -> str:
    """The digest of the engine's own rooms, read once in a process."""
    return digest(ROOMS)
