"""Where the files lie that come with the package."""

from pathlib import Path

_ENGINE = Path(__file__).resolve().parent

RECIPES = _ENGINE.parent / "recipes"
"""Recipes, their rows in `data/` and hardware profiles in `hardware/`."""
EMBEDDED_WEIGHTS = _ENGINE / "model" / "embedded" / "weights"
"""The model that `model.path = "embedded"` names, with its tokenizer and chat template."""
