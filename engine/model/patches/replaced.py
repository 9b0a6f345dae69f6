"""Attributes of another package, replaced for as long as it takes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any


@contextmanager
def replaced(owner: object, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Put `make(original)` in the place of an attribute for as long as this lasts."""
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def changed_instances(kind: type, change: Callable[[Any], None]) -> AbstractContextManager[None]:
    """A context in which `change` is called with every new instance of a class."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def build(self: object, *args: object, **kwargs: object) -> None:
            original(self, *args, **kwargs)
            change(self)

        return build

    return replaced(kind, "__init__", make)
