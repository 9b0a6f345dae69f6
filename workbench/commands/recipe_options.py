"""Options of commands that take a recipe: which one, the rows it is given, and what is changed."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from workbench.commands import options
from workbench.recipe_editor import draft, own_rows


def add_recipe(parser: ArgumentParser, help: str = "a recipe's name or path") -> None:
    """The recipe, and what is changed in it."""
    parser.add_argument("recipe", metavar="RECIPE", help=f"{help}, or a file of rows")
    options.add_data(parser)
    options.add_set(parser)


@dataclass(frozen=True, slots=True)
class NamedRecipe:
    """The recipe that was named, or that rows in its place are trained on by."""

    name: str
    overrides: list[str]
    """What --data and then --set change of it."""
    note: str
    """What it does with rows of the user's own; empty where there are none."""

    def say(self) -> None:
        """Tell the note, once nothing is refused any more."""
        if self.note:
            print(f"gemma-bench: {self.note}", file=sys.stderr)


def named(arguments: Namespace) -> NamedRecipe:
    """The recipe of a command line."""
    name, sources = arguments.recipe, arguments.data
    is_rows = own_rows.is_rows(name)
    note = ""
    if is_rows:
        name, sources = own_rows.RECIPE, [name, *sources]
        note = (
            f"{sources[0]} holds rows: {name} trains the small Gemma that comes along on them. "
            f"For a larger one: gemma-bench run RECIPE --data {shlex.quote(sources[0])}"
        )
    elif sources:
        note = (
            f"{name} trains on {', '.join(sources)}; its own prompts and questions are left out, "
            "and some of these rows are asked"
        )
    changes = own_rows.changes(sources, name)
    return NamedRecipe(name, [*draft.overrides(changes), *arguments.overrides], note)
