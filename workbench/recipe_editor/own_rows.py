"""Rows of the user's own in place of a recipe's, and what else of the recipe changes with them."""

from collections.abc import Sequence
from pathlib import Path

from engine.recipe import data_files, files
from workbench.recipe_editor.draft import Changes
from workbench.text import toml_text

RECIPE = files.QUICKSTART
"""What a file is trained on by for which no recipe is named: nothing has to be fetched for it."""
_QUESTIONS = 3
_FOR_ANY_ROWS = {
    "data.max_length": "512",
    "data.packing": "false",
    "adapter.r": "32",
    "adapter.lora_alpha": "64",
    "training.per_device_train_batch_size": "8",
    "training.learning_rate": "1e-2",
    "training.num_train_epochs": "8.0",
}
"""Of this recipe with other rows. Its own are short and many, and most are there to be kept."""


def is_rows(name: str) -> bool:
    """Whether what stands in a recipe's place is a file of rows, or a folder."""
    path = Path(name)
    if data_files.is_rows(path):
        return True
    return (
        bool(name) and path.suffix != ".toml" and path.is_dir() and not files.find(name).is_file()
    )


def changes(sources: Sequence[str], recipe: str = "") -> Changes:
    """Sources, as they are typed, in place of a recipe's, which may have a name.

    Its prompts and its questions with facts are about its own rows, so they are left out, and some
    questions of these are asked instead.
    """
    if not sources:
        return {}
    return {
        "data.sources": toml_text.of_value([*sources]),
        "score": "none",
        "samples.prompts": "[]",
        "samples.rows": str(_QUESTIONS),
        **(_FOR_ANY_ROWS if recipe == RECIPE else {}),
    }
