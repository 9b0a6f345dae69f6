"""How much of an update outlives the rounding of a merged weight to its number format."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

_WORTH_TELLING = 0.8


@dataclass(slots=True)
class Rounding:
    """Sums over the values of one weight, or of several."""

    update: float = 0.0
    """Of the squares of what was to be added."""
    error: float = 0.0
    """Of the squares of what rounding took from it."""

    def add(self, base: torch.Tensor, exact: torch.Tensor, rounded: torch.Tensor) -> None:
        """Count rows in float32: before, with the update, as stored; the last two are changed."""
        self.error += _squares(rounded.sub_(exact))
        self.update += _squares(exact.sub_(base))

    @property
    def survival(self) -> float:
        """1 where nothing was lost, 0 where as much was as there was."""
        return 1 - min(1.0, math.sqrt(self.error / self.update)) if self.update else 1.0


def _squares(values: torch.Tensor) -> float:
    flat = values.flatten()
    return float(torch.dot(flat, flat))


@dataclass(slots=True)
class Survival:
    """Of each adapted weight, and of all."""

    by_weight: dict[str, Rounding] = field(default_factory=dict)

    def share(self) -> float:
        """Of all updates together."""
        sums = self.by_weight.values()
        return Rounding(sum(s.update for s in sums), sum(s.error for s in sums)).survival

    def facts(self) -> dict[str, Any]:
        """For the manifest: of all, and of each weight by its name in the files."""
        each = {name: round(sums.survival, 4) for name, sums in self.by_weight.items()}
        return {"all": round(self.share(), 4), "weights": each}

    def remark(self, dtype: str) -> str:
        """What is to be known of it, and what helps; empty where little was lost."""
        if self.share() >= _WORTH_TELLING:
            return ""
        least = min(self.by_weight, key=lambda name: self.by_weight[name].survival)
        return (
            f"{1 - self.share():.0%} of the update was lost to rounding in {dtype}, most in {least}"
            ": --as adapter keeps all of it"
        )
