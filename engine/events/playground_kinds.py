"""The events of a playground's engine."""

from dataclasses import dataclass
from typing import ClassVar

from engine.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    """A playground can be asked: base and adapter are loaded."""

    kind: ClassVar[str] = "opened"
    run: str
    """Directory of the run whose adapter it is."""
    adapter: str
    """Path of the adapter, relative to the run."""
    step: int | None
    """The step it was saved after; null where the run doesn't tell."""
    model: str
    device: str
    dtype: str
    quantization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece(Event):
    """More of an answer in a playground."""

    kind: ClassVar[str] = "piece"
    id: int
    side: str
    """base or adapter."""
    text: str
    """Whole characters that follow those of the piece before."""
    tokens: int
    """Tokens of the answer so far."""
    seconds: float
    """Time spent on them so far, that of the other side left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Event):
    """An answer in a playground is over."""

    kind: ClassVar[str] = "answered"
    id: int
    side: str
    prompt_tokens: int
    tokens: int
    """Tokens of the answer, its end token not counted."""
    seconds: float
    """Time spent on it, the prompt's included, that of the other side left out."""
    reason: str
    """stop: it came to its end; length: no more tokens were asked for; stopped; or failed."""
    error: str | None = None
    """Why it failed."""
