"""What a viewer asks of a playground's engine: frozen data, and their JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

SIDES = ("base", "adapter")
Message = tuple[str, str]
"""Who speaks (system, user or assistant), and what."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How tokens are chosen; names as in transformers' GenerationConfig."""

    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 0.95
    """The likeliest tokens that together have this probability; 1 takes all."""
    top_k: int = 64
    """So many of the likeliest tokens; 0 takes all."""
    max_new_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A talk that ends with the user's turn, to be answered by one side."""

    id: int
    """Of the answer; base and adapter answer one prompt under one id."""
    side: str
    messages: tuple[Message, ...]
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class Stop:
    """End all answers that are under way, after the next token."""


@dataclass(frozen=True, slots=True)
class End:
    """End the engine."""


Wish = Asked | Stop | End


@dataclass(frozen=True, slots=True)
class Opening:
    """Which run is played with, and which of its adapters."""

    run: str
    """Its directory."""
    adapter: str = ""
    """Name of the adapter; empty takes the newest."""


def request(opening: Opening) -> dict[str, Any]:
    """What request.json holds of it."""
    return {"name": "playground", "playground": dataclasses.asdict(opening)}


def opening(request: dict[str, Any]) -> Opening:
    """What `request` was made from."""
    return Opening(**request["playground"])


def encode(wish: Wish) -> bytes:
    """One line for control.jsonl."""
    if isinstance(wish, Asked):
        chat = [{"role": role, "content": content} for role, content in wish.messages]
        told = {"id": wish.id, "side": wish.side, "messages": chat}
        record = {"want": "answer", **told, **dataclasses.asdict(wish.settings)}
    else:
        record = {"want": "stop" if isinstance(wish, Stop) else "end"}
    return json.dumps(record).encode() + b"\n"


def decode(line: bytes) -> Wish | None:
    """The wish on a line of control.jsonl, or None where there is none."""
    try:
        record = json.loads(line)
        want = record.pop("want")
        if want in {"stop", "end"}:
            return Stop() if want == "stop" else End()
        return _asked(record) if want == "answer" else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _asked(record: dict[str, Any]) -> Asked | None:
    number, side = int(record.pop("id")), record.pop("side")
    messages = tuple((str(one["role"]), str(one["content"])) for one in record.pop("messages"))
    if side not in SIDES or not messages or messages[-1][0] != "user":
        return None
    return Asked(number, side, messages, Settings(**record))
