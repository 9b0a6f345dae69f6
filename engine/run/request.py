"""What a run was asked for: a recipe on hardware, as its request.json holds it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine import guarded
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Recipe
from engine.run import wire


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that a branch goes on from."""

    run: str
    """Its name."""
    path: str
    step: int
    """Of the checkpoint that was copied."""


@dataclass(frozen=True, slots=True)
class Request:
    """A run's request, written by whoever makes the run.

    It is never changed after, but for what a resumption finds of the card: whether Triton works.
    """

    name: str
    """Of the recipe."""
    recipe: Recipe
    """With the overrides applied."""
    hardware: Profile
    forecast: dict[str, Any] | None = None
    """The `Budget` it was started with, as plain data; None where nothing was forecast."""
    recipe_file: str = ""
    overrides: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    parent: Parent | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for request.json and plan.json."""
        document: dict[str, Any] = wire.plain(self)
        if self.parent is None:
            del document["parent"]
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "Request":
        """Read what `as_dict` gave, or an older version of it; unknown keys are left out.

        Raises `ValueError` where it is none.
        """
        request: Request = wire.read(document, cls)
        return request


def read_document(path: Path) -> dict[str, Any]:
    """Read a request.json of any job as plain data. Raises `Refusal` where it is damaged."""
    try:
        document = guarded.json_document(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, guarded.reason(error)) from None
    if not isinstance(document, dict):
        raise _damaged(path, "it is no table")
    return document


def read(path: Path) -> Request:
    """Read a run's request.json. Raises `Refusal` where it is damaged or another version's."""
    document = read_document(path)
    try:
        return Request.from_dict(document)
    except (ValueError, RecursionError) as error:
        if not isinstance(error.__cause__, ValidationError):
            raise _damaged(path, "it lacks what a request has") from None
        first = error.__cause__.errors()[0]
        key = ".".join(map(str, first["loc"]))
        reason = f"its recipe is none of this version: {key}: {first['msg']}"
        raise Refusal.of(str(path), reason, _FIX) from None


_FIX = "Start another run of its recipe"


def _damaged(path: Path, reason: str) -> Refusal:
    return Refusal.of(str(path), f"it is damaged and can't be read: {reason}", _FIX)
