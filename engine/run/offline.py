"""Whether a run has any reason to ask the network."""

import os

from engine.recipe.schema import EMBEDDED, Recipe


def stay_off_unless_named(recipe: Recipe | None) -> None:
    """Keep the libraries from the hub where the recipe names nothing of it.

    TRL tells the hub of each trainer that is made, which is off in any case. To be called before
    they are imported.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if recipe and not _names_the_hub(recipe):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _names_the_hub(recipe: Recipe) -> bool:
    model = recipe.model.path
    is_local = model == EMBEDDED or os.path.isdir(model)
    return not is_local or any(source.id for source in recipe.data.sources)
