"""Facts of every Gemma: the variants that are known by name, and any local folder with one."""

import json
import os
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from engine.gemma.towers import Tower
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal

EMBEDDED = "embedded"
"""What stands for the small Gemma that the project ships."""
_TABLE = Path(__file__).with_name("gemma.toml")

Attention = Literal["sliding", "full"]
Sharing = Literal["none", "store", "reuse"]


@dataclass(frozen=True, slots=True)
class Layer:
    """Shape of one decoder layer."""

    attention: Attention
    head_width: int
    kv_heads: int
    intermediate_size: int
    sharing: Sharing
    """store: later layers read its keys and values; reuse: it reads those of an earlier one."""
    has_values: bool
    """False where keys are values too, so that there is no v_proj."""


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts that stands beside the MLP of every layer."""

    count: int
    per_token: int
    intermediate_size: int


@dataclass(frozen=True, slots=True)
class Gemma:
    """Shapes of a model and where it comes from."""

    name: str
    hub_id: str
    """Empty for a local folder."""
    licence: str
    dialect: str
    """gemma3, gemma4 or gemma4_large: how its chat is written."""
    generation: Literal[3, 4]
    is_text_only: bool
    """Whether transformers loads a class without towers."""
    vocab_size: int
    hidden_size: int
    heads: int
    layers: tuple[Layer, ...]
    sliding_window: int
    context_tokens: int
    per_layer_width: int
    """Width of per-layer embeddings; 0 where there are none."""
    per_layer_vocab_size: int
    experts: Experts | None
    final_softcap: float | None
    is_tied: bool
    """Whether the output head is the token table."""
    vision: Tower | None
    audio: Tower | None
    makes_every_mask: bool
    """Whether full attention has a mask too, even for text alone: the unified 12B."""
    image_tokens: int
    """Positions that one image takes at most; 0 without vision."""


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
        "sliding_attention" if (place + 1) % every else "full_attention"
        for place in range(text["num_hidden_layers"])
    ]
    if variant.get("is_text_only"):
        return text
    towers = {
        f"{tower}_config": generation[tower] for tower in ("vision", "audio") if tower in generation
    }
    return {**generation["wrapper"], "text_config": text, **towers}


def variant_of(model: str) -> Gemma:
    """Facts of a model: "embedded", a folder with a config.json, a hub id or a variant's name.

    Hub ids of base models (-pt or no ending) count as their variant. Raises `Refusal`.
    """
    from engine.gemma.config import read

    folder = EMBEDDED_WEIGHTS if model == EMBEDDED else Path(model)
    if os.path.isfile(folder / "config.json"):
        return replace(_of_folder(folder), name=model if model == EMBEDDED else folder.name)
    name = name_of(model)
    if name is None:
        fix = f"Give a folder with a config.json, or one of: {', '.join(names())}"
        raise Refusal.of("model.path", f"{model!r} is no Gemma whose shape is known", fix)
    variant = _table()["variants"][name]
    generation = _table()["generations"][variant["generation"]]
    return replace(
        read(config_of(name)),
        name=name,
        hub_id=variant["hub_id"],
        licence=generation["licence"],
        dialect=generation["dialect"],
    )


def name_of(model: str) -> str | None:
    """The variant that a name or a hub id means, or None."""
    bare = model.rpartition("/")[2].lower()
    bare = bare.removesuffix("-it").removesuffix("-pt")
    return next((name for name in names() if name.lower() == bare), None)


def _of_folder(folder: Path) -> Gemma:
    from engine.gemma.config import read

    file = folder / "config.json"
    try:
        return read(json.loads(file.read_bytes()))
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
