"""What a run was asked for: a recipe on hardware, as its request.json holds it."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from engine import guarded
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Recipe

_PROFILE = TypeAdapter(Profile)


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that a branch goes on from."""

    run: str
    """Its name."""
    path: str
    step: int
    """Of the checkpoint that was copied."""

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "Parent":
        """Read plain data. Raises as `Request.from_dict` does."""
        return cls(str(document["run"]), str(document["path"]), int(document["step"]))


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
        document: dict[str, Any] = {
            "name": self.name,
            "recipe": self.recipe.model_dump(mode="json"),
            "recipe_file": self.recipe_file,
            "overrides": list(self.overrides),
            "hardware": self.hardware.as_dict(),
            "forecast": self.forecast,
            "argv": list(self.argv),
        }
        return document | ({"parent": dataclasses.asdict(self.parent)} if self.parent else {})

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "Request":
        """Read what `as_dict` gave, or an older version of it; unknown keys are left out.

        Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` where it is none.
        """
        forecast = document.get("forecast")
        if forecast is not None and not isinstance(forecast, dict):
            raise TypeError("a forecast is a table")
        return cls(
            name=str(document.get("name", "")),
            # As JSON: a strict schema takes no list for a tuple otherwise.
            recipe=Recipe.model_validate_json(json.dumps(document["recipe"])),
            hardware=_PROFILE.validate_python(document["hardware"]),
            forecast=forecast,
            recipe_file=str(document.get("recipe_file", "")),
            overrides=tuple(map(str, document.get("overrides", ()))),
            argv=tuple(map(str, document.get("argv", ()))),
            parent=Parent.from_dict(document["parent"]) if document.get("parent") else None,
        )


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
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        reason = f"its {error.title.lower()} is none of this version: {key}: {first['msg']}"
        raise Refusal.of(str(path), reason, _FIX) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, "it lacks what a request has") from None


_FIX = "Start another run of its recipe"


def _damaged(path: Path, reason: str) -> Refusal:
    return Refusal.of(str(path), f"it is damaged and can't be read: {reason}", _FIX)
