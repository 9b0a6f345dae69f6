"""Facts of every Gemma: the variants that are known by name, and any local folder with one."""

import os
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from engine import guarded
from engine.gemma.config import read
from engine.gemma.gguf import files
from engine.gemma.gguf import model as gguf_model
from engine.gemma.shapes import EMBEDDED, Gemma
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal

_TABLE = Path(__file__).with_name("gemma.toml")


def names() -> list[str]:
    """Names of the known variants, small to large within a generation."""
    return list(_table()["variants"])


def config_of(name: str) -> dict[str, Any]:
    """A known variant's config.json, as far as shapes go. Raises `KeyError`."""
    variant = _table()["variants"][name]
    generation = deepcopy(_table()["generations"][variant["generation"]])
    text = _merged(generation["text"], deepcopy(variant["text"]))
    every = text.pop("full_attention_every")
    text["layer_types"] = [
        "sliding_attention" if (index + 1) % every else "full_attention"
        for index in range(text["num_hidden_layers"])
    ]
    if variant.get("is_text_only"):
        return text
    towers = {
        f"{tower}_config": generation[tower] for tower in ("vision", "audio") if tower in generation
    }
    return {**generation["wrapper"], "text_config": text, **towers}


def variant_of(model: str) -> Gemma:
    """Facts of a model: "embedded", a folder with a config.json, a GGUF file, a hub id or a name.

    Hub ids of base models (-pt or no ending) count as their variant. Raises `Refusal`.
    """
    folder = EMBEDDED_WEIGHTS if model == EMBEDDED else Path(model)
    if os.path.isfile(folder / "config.json"):
        return replace(_of_folder(folder), name=model if model == EMBEDDED else folder.name)
    if files.is_gguf(model) and not files.is_absent(model):
        return gguf_model.of(model).gemma
    name = name_of(files.PACKAGES[model][0] if model in files.PACKAGES else model)
    if name is None:
        fix = f"Give a folder with a config.json, or one of: {', '.join(names())}"
        raise Refusal.of("model.path", f"{model!r} is no Gemma whose shape is known", fix)
    return replace(read(config_of(name)), name=name, hub_id=_table()["variants"][name]["hub_id"])


def name_of(model: str) -> str | None:
    """The variant that a name or a hub id means, or None."""
    bare = model.rpartition("/")[2].lower()
    bare = bare.removesuffix("-it").removesuffix("-pt")
    return next((name for name in names() if name.lower() == bare), None)


def _of_folder(folder: Path) -> Gemma:
    file = folder / "config.json"
    try:
        return read(guarded.json_document(file))
    except OSError as error:
        raise Refusal.of(
            str(file), error.strerror or str(error), "Give a readable folder"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it describes no Gemma 3 or Gemma 4 ({type(error).__name__}: {error})"
        raise Refusal.of(str(file), reason, "Give the folder of a Gemma") from None


@cache
def _table() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(_TABLE.read_text())


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both tables in one; where both hold a table, these are merged too."""
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(under.get(key), dict)
        under[key] = {**under[key], **value} if both else value
    return under
