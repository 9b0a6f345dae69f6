"""How a playground samples, as it is typed: the range of each setting, and what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.sessions.playground import Settings


@dataclass(frozen=True, slots=True)
class Key:
    """One setting, and the range that it may have."""

    name: str
    is_whole: bool
    least: float
    most: float
    tells: str

    def wrong(self, text: str) -> str:
        """What is wrong with a value; empty where nothing is."""
        number = _number(text, is_whole=self.is_whole)
        kind = "a whole number" if self.is_whole else "a number"
        if number is None or not self.least <= number <= self.most:
            return f"{self.name} is {kind} from {self.least:g} to {self.most:g}: {self.tells}"
        return ""


KEYS = (
    Key("temperature", False, 0, 10, "0 takes the likeliest token"),
    Key("top_p", False, 0.01, 1, "1 takes all tokens"),
    Key("top_k", True, 0, 262_144, "0 takes all tokens"),
    Key("max_new_tokens", True, 1, 32_768, "the longest answer"),
    Key("seed", True, 0, 2**53, "the same one draws the same tokens"),
)
DEFAULTS = {key.name: f"{getattr(Settings(), key.name):g}" for key in KEYS}


def problems_of(texts: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by key."""
    return {key.name: problem for key in KEYS if (problem := key.wrong(texts[key.name]))}


def settings_of(texts: Mapping[str, str]) -> Settings:
    """Values that nothing is wrong with, as settings."""
    numbers = {key.name: _number(texts[key.name], is_whole=key.is_whole) for key in KEYS}
    return Settings(**numbers)  # type: ignore[arg-type]


def _number(text: str, *, is_whole: bool) -> float | None:
    try:
        return int(text, 10) if is_whole else float(text)
    except ValueError:
        return None
