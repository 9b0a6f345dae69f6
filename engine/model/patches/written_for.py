"""What a patch needs of another package, checked as it is imported, and how it is applied."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
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


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put `make(original)` in the place of an attribute for as long as this lasts."""
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def changed_instances(kind: Any, change: Callable[[Any], None]) -> AbstractContextManager[None]:
    """A context in which `change` is called with every new instance of a class."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def build(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            change(self)

        return build

    return replaced(kind, "__init__", make)
