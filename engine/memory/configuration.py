"""A model's configuration, from its folder or from the facts of its variant."""

import json
from pathlib import Path
from typing import Any

from engine.memory import variants
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
        variant = variants.named(model)
        if variant is not None:
            return variant
        reason = f"{model!r} is no folder with a config.json and no known Gemma"
        fix = "Give a model's folder, or the hub id of a Gemma"
        raise refuse("model.path", reason, fix) from None
    return found


def configuration(found: dict[str, Any]) -> Any:
    """The configuration as transformers' own class."""
    from transformers import AutoConfig

    given = dict(found)
    return AutoConfig.for_model(given.pop("model_type"), **given)
