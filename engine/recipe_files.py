"""Where the recipes that come with the project lie."""

from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
QUICKSTART = "quickstart"


def find(name: str) -> Path:
    """The file of a recipe given by name (as under recipes/) or by path; it need not exist."""
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        return path
    return RECIPES / f"{name}.toml"


def names() -> list[str]:
    """Names of the recipes that come with the project; the one to begin with comes first."""
    found = (path.stem for path in RECIPES.glob("*.toml"))
    return sorted(found, key=lambda name: (name != QUICKSTART, name))
