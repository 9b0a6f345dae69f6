"""Where the files lie that come with the package."""

from pathlib import Path

_ENGINE = Path(__file__).resolve().parent

RECIPES = _ENGINE.parent / "recipes"
"""Recipes, their rows in `data/` and hardware profiles in `hardware/`."""
RECIPE_SCHEMA = RECIPES / "recipe.schema.json"
"""The JSON schema of recipes, for editors that complete keys."""
_EMBEDDED = Path("engine", "model", "embedded", "weights")
EMBEDDED_WEIGHTS = _ENGINE.parent / _EMBEDDED
"""The model that `model.path = "embedded"` names, with its tokenizer and chat template."""


def is_embedded_weights(path: str) -> bool:
    """Whether a path is that of the embedded model, in this installation or another."""
    return Path(path).parts[-len(_EMBEDDED.parts) :] == _EMBEDDED.parts
