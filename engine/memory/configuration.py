"""A model's configuration, from its folder or from the facts of its variant."""

import json
from pathlib import Path
from typing import Any

from engine import gemma
from engine.recipe import EMBEDDED
from engine.refusal import refuse

_EMBEDDED_WEIGHTS = Path(__file__).parents[1] / "model" / "embedded" / "weights"


def source(model: str) -> dict[str, Any]:
    """A model's config.json as plain data; needs no heavy import and asks no network.

    Raises `Refusal` where it is neither a folder with one nor a known variant.
    """
    folder = _EMBEDDED_WEIGHTS if model == EMBEDDED else Path(model)
    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    except OSError:
        name = gemma.name_of(model)
        if name is None:
            reason = f"{model!r} is no folder with a config.json and no known Gemma"
            fix = f"Give a model's folder, or one of: {', '.join(gemma.names())}"
            raise refuse("model.path", reason, fix) from None
        return gemma.config_of(name)
    except ValueError as error:
        fix = "Fetch the model's files again"
        raise refuse(str(folder / "config.json"), str(error), fix) from None
    return found


def configuration(found: dict[str, Any]) -> Any:
    """The configuration as transformers' own class."""
    from transformers import AutoConfig

    given = dict(found)
    return AutoConfig.for_model(given.pop("model_type"), **given)
