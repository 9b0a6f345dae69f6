"""The packages that the project is built on, as they are installed and as they were tested."""

import re
from importlib import metadata

PROJECT = "gemma-bench"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def requirements() -> list[str]:
    """What the project asks for, in pip's words; what only its own tests need is left out."""
    return [line for line in metadata.requires(PROJECT) or [] if "extra ==" not in line]


def versions() -> dict[str, str]:
    """Version by package; a package that is missing has an empty one."""
    names = [match[0] for line in requirements() if (match := _NAME.match(line))]
    return {name: version(name) for name in (PROJECT, *names)}


def version(name: str) -> str:
    """The installed version of a package; empty where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
