"""Rows of random tokens whose lengths differ as in real sets, and how long steps on them take."""

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.data.batches import TokenSequence

SEED = 0
RANK = 16
_IGNORED = -100
_FIRST_TOKEN, _LAST_TOKEN = 300, 1000
"""Plain entries of every Gemma's vocabulary, the embedded one's too."""
_PROMPT_SHARE = 0.3
_SHORTEST_SHARE = 0.2
_WARM_UP_STEPS = 2
"""Steps in which kernels are chosen and built, where there are more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """As many as all steps take, one after the other."""

    steps: int
    batch: int
    ids: list[list[int]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def sequences(self) -> list[TokenSequence]:
        """As the engine takes them; the first tokens of each are a prompt without loss."""
        return [
            TokenSequence(ids, [*[_IGNORED] * prompt_tokens(ids), *ids[prompt_tokens(ids) :]],
                          list(range(len(ids))))
            for ids in self.ids
        ]  # fmt: skip


def prompt_tokens(ids: list[int]) -> int:
    """Tokens at the head of a row that carry no loss."""
    return max(1, int(_PROMPT_SHARE * len(ids)))


def drawn(*, steps: int, batch: int, longest: int) -> Rows:
    """The same every time: lengths from a fifth of the longest on, most of them short."""
    source = random.Random(SEED)
    lengths = [
        max(8, int(longest * source.triangular(_SHORTEST_SHARE, 1.0, 0.35)))
        for _ in range(steps * batch)
    ]
    ids = [[source.randint(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(n)] for n in lengths]
    return Rows(steps, batch, ids)


@dataclass(slots=True)
class Timing:
    """Steps that were timed."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, seconds: float, tokens: int, loss: float) -> None:
        """A step that ended."""
        self.seconds.append(seconds)
        self.tokens.append(tokens)
        self.losses.append(loss)

    def as_dict(self) -> dict[str, Any]:
        """Tokens a second, padding excluded, after the warm-up, and the first loss."""
        first = min(_WARM_UP_STEPS, len(self.seconds) - 1)
        seconds, tokens = self.seconds[first:], self.tokens[first:]
        return {
            "tokens_per_s": round(sum(tokens) / sum(seconds), 1),
            "step_s": round(sorted(seconds)[len(seconds) // 2], 4),
            "first_loss": round(self.losses[0], 5),
            "steps": len(seconds),
        }
