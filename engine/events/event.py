"""What every kind of event carries."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event carries; the log stamps both fields when it appends."""

    kind: ClassVar[str]
    t: float = 0.0
    """Seconds on the engine's monotonic clock since its hello."""
    time: str = ""
    """UTC wall time, ISO 8601, for people; never for arithmetic."""
