"""Rows of the user's own in place of a recipe's, and what else of the recipe changes with them."""

from collections.abc import Sequence
from pathlib import Path

from engine.recipe import data_files, files
from workbench.recipe_editor.draft import Changes
from workbench.text import toml_text

RECIPE = files.QUICKSTART
"""What a file is trained on by for which no recipe is named: nothing has to be fetched for it."""
_QUESTIONS = 3
_MAX_LENGTH = 512
"""Tokens; the rows that this recipe comes with are shorter than most."""


def is_rows(name: str) -> bool:
    """Whether what stands in a recipe's place is a file of rows, or a folder."""
    path = Path(name)
    if data_files.is_rows(path):
        return True
    return (
        bool(name) and path.suffix != ".toml" and path.is_dir() and not files.find(name).is_file()
    )


def changes(sources: Sequence[str], *, of_any_length: bool = False) -> Changes:
    """Sources, as they are typed, in place of a recipe's.

    Its prompts and its questions with facts are about its own rows, so they are left out, and some
    questions of these are asked instead.
    """
    if not sources:
        return {}
    length = {"data.max_length": str(_MAX_LENGTH)} if of_any_length else {}
    return {
        "data.sources": toml_text.of_value([*sources]),
        "score": "none",
        "samples.prompts": "[]",
        "samples.rows": str(_QUESTIONS),
        **length,
    }
