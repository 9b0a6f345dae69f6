"""What a viewer asks of a playground's engine."""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from engine.run import wire


class Side(StrEnum):
    """Who answers."""

    BASE = "base"
    ADAPTER = "adapter"


SIDES = tuple(Side)
Message = tuple[str, str]
"""Who speaks (system, user or assistant), and what."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens are sampled; names as in transformers' GenerationConfig."""

    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 0.95
    """The likeliest tokens that together have this probability; 1 takes all."""
    top_k: int = 64
    """So many of the likeliest tokens; 0 takes all."""
    max_new_tokens: int = 256
    seed: int = 0


class Prompt(Struct, frozen=True, forbid_unknown_fields=True, tag_field="want", tag="answer"):
    """A chat that ends with the user's turn, to be answered by one side.

    Raises `ValueError` where it ends otherwise.
    """

    id: int
    """Of the answer; base and adapter answer one prompt under one id."""
    side: Side
    messages: tuple[Message, ...]
    settings: Settings = Settings()

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1][0] != "user":
            raise ValueError("the last message is not the user's")


class Stop(Struct, frozen=True, tag_field="want", tag="stop"):
    """End all answers that are under way, after the next token."""


class End(Struct, frozen=True, tag_field="want", tag="end"):
    """End the engine."""


Command = Prompt | Stop | End


class Opening(Struct, frozen=True):
    """Which run is played with, and which of its adapters."""

    run: str
    """Its directory."""
    adapter: str = ""
    """Name of the adapter; empty takes the newest."""


def request(opening: Opening) -> dict[str, Any]:
    """What request.json holds of it."""
    return {"name": "playground", "playground": wire.plain(opening)}


def opening(request: dict[str, Any]) -> Opening:
    """What `request` was made from."""
    opened: Opening = wire.read(request["playground"], Opening)
    return opened


def decode(line: bytes) -> Command | None:
    """The command on a line of control.jsonl, or None where there is none."""
    command: Command | None = wire.read_line(line, Command)
    return command
