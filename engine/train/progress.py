"""How far a run is, and what its latest step came to."""

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """How far a run is; what a checkpoint keeps beside tensors."""

    step: int = 0
    """Optimizer steps that were taken."""
    epoch: float = 0.0
    tokens: int = 0
    """Tokens since the first step, padding excluded."""
    supervised_tokens: int = 0
    """Tokens that carried loss since the first step."""
    elapsed_s: float = 0.0
    """Seconds of training since the first step, those before an interruption included."""
    skipped_steps: int = 0
    """Steps that were left out because their gradient was no number."""


@dataclass(slots=True)
class StepResult:
    """What one optimizer step came to."""

    step: int
    tokens: int
    """Tokens of the step, padding excluded."""
    supervised_tokens: int
    metrics: dict[str, float]
    """Figures by name; one that is no number stays as it is."""
    duration_s: float = 0.0
    """Of the passes and of the optimizer, without what hooks do."""

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers."""
        return all(math.isfinite(self.metrics[name]) for name in ("loss", "grad_norm"))
