"""What a patch needs of another package, checked as the patch is imported."""

import importlib
from dataclasses import dataclass
from typing import Any

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class WrittenFor:
    """A package, the versions that a patch was tried with, and the parts it needs.

    Such parts are private or likely to change. They are checked as soon as it is made.
    """

    package: str
    versions: str
    """A version specifier, such as `==5.23.*`."""
    parts: tuple[str, ...]
    """Each as `module:name.name`."""

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises `ImportError`, which names the parts that the installed version lacks."""
        missing = [part for part in self.parts if _lookup(part) is _ABSENT]
        if missing:
            # Looked up here alone: reading what is installed takes longer than most imports.
            from importlib.metadata import version

            raise ImportError(
                f"gemma-bench patches {', '.join(missing)}, which {self.package} "
                f"{version(self.package)} doesn't have: the patch was written for {self.versions}"
            )


def _lookup(part: str) -> Any:
    module, _, names = part.partition(":")
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        return _ABSENT
    for name in names.split("."):
        value = getattr(value, name, _ABSENT)
    return value
