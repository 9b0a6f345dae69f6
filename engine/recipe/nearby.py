"""Recipes of the user's own: those of the current folder."""

from pathlib import Path

from engine import guarded
from engine.recipe import files, schema


def recipes() -> list[str]:
    """TOML files with a section of a recipe, or that can't be read; named as `load` takes them."""
    paths = (path for path in Path().glob("*.toml") if not path.name.startswith("."))
    return sorted(str(path) for path in paths if _may_be_recipe(path))


def _may_be_recipe(path: Path) -> bool:
    """Pipes and devices are not opened."""
    try:
        if not path.is_file() or path.stat().st_size > files.MAX_BYTES:
            return False
        return not schema.SECTIONS.keys().isdisjoint(guarded.toml_document(path, files.MAX_BYTES))
    except (OSError, ValueError):
        return True
