"""Shapes of a Gemma as plain data, and how its chat is written."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from engine.gemma.towers import Tower

EMBEDDED = "embedded"
"""What stands for the small Gemma that the project ships."""
Attention = Literal["sliding", "full"]
Sharing = Literal["none", "store", "reuse"]


class Dialect(StrEnum):
    """How the chat of a family of models is written."""

    GEMMA3 = "gemma3"
    GEMMA4 = "gemma4"
    """E2B and E4B."""
    GEMMA4_LARGE = "gemma4-large"
    """12B, 26B-A4B and 31B, whose prompts end in an empty thought."""


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
    dialect: Dialect
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
    masks_images: bool
    """Whether tokens of an image see each other, for which all attention has a mask."""
    image_tokens: int
    """Positions that one image takes at most; 0 without vision."""
