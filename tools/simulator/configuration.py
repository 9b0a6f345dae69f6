"""A model's configuration, from its folder or from the facts of its variant."""

import json
from pathlib import Path
from typing import Any

from engine.gemma import catalog
from engine.gemma.shapes import EMBEDDED
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal


def source(model: str) -> dict[str, Any]:
    """A model's config.json as plain data; needs no heavy import and asks no network.

    Raises `Refusal` where it is neither a folder with one nor a known variant.
    """
    folder = EMBEDDED_WEIGHTS if model == EMBEDDED else Path(model)
    try:
        document: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    except OSError:
        name = catalog.name_of(model)
        if name is None:
            reason = f"{model!r} is no folder with a config.json and no known Gemma"
            fix = f"Give a model's folder, or one of: {', '.join(catalog.names())}"
            raise Refusal.of("model.path", reason, fix) from None
        return catalog.config_of(name)
    except ValueError as error:
        fix = "Fetch the model's files again"
        raise Refusal.of(str(folder / "config.json"), str(error), fix) from None
    return document


def configuration(document: dict[str, Any]) -> Any:
    """The configuration as transformers' own class."""
    from transformers import AutoConfig

    fields = dict(document)
    return AutoConfig.for_model(fields.pop("model_type"), **fields)
