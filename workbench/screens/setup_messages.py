"""What the setup screen hears from its threads, and what it tells the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.message import Message

from engine.hardware.profiles import Profile
from engine.problems import Problem

if TYPE_CHECKING:
    from engine.recipe.schema import Recipe
    from engine.run.rundir import RunDir
    from workbench.recipe_editor.draft import Changes
    from workbench.recipe_editor.recipe_assessment import RecipeAssessment


class Choice(NamedTuple):
    """What was chosen; names are empty where there is none."""

    hardware: str
    recipe: str
    changes: Changes


class Found(Message, namespace="setup_screen"):
    """The machine, the runs and the user's own recipes were looked at."""

    def __init__(self, profile: Profile, alive: RunDir | None, own_recipes: list[str]) -> None:
        super().__init__()
        self.profile, self.alive, self.own_recipes = profile, alive, own_recipes


class Checked(Message, namespace="setup_screen"):
    """A choice was checked."""

    def __init__(self, choice: Choice, outcome: RecipeAssessment) -> None:
        super().__init__()
        self.choice, self.outcome = choice, outcome


class Remedied(Checked, namespace="setup_screen"):
    """It was looked for what would make a checked choice fit."""


class Refused(Message, namespace="setup_screen"):
    """A run could not be started after all."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__()
        self.problems = problems


class Started(Message, namespace="setup_screen"):
    """A run was made and its engine started."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run


class PreviewWanted(Message, namespace="setup_screen"):
    """The user wants to see the rows of a recipe."""

    def __init__(self, name: str, recipe: Recipe) -> None:
        super().__init__()
        self.name, self.recipe = name, recipe


class AttachWanted(Message, namespace="setup_screen"):
    """The user wants to follow the run at work."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run


def why_not(action: str, known: RecipeAssessment | None) -> str:
    """Why an action can't be done with what is known of the choice; empty where it can."""
    if known is None:
        return "The choice is being checked" if action in {"start", "preview", "edit"} else ""
    match action:
        case "start":
            return "What is wrong is told above; mend it first" if known.problems else ""
        case "preview":
            return "" if known.recipe is not None else "The recipe has to be right first"
        case "edit" | "save_as":
            return "" if known.draft is not None else "The recipe's file can't be read"
    return ""
