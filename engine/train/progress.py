"""How far a run is, what its latest step came to, and whether that may reach the weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.events import Warned


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
    """Of the batches, the passes and the optimizer, without what hooks do."""
    data_wait_s: float = 0.0
    """Of these, until batches and their images were there."""

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers."""
        return all(math.isfinite(self.metrics[name]) for name in ("loss", "grad_norm"))


class NotFinite(Exception):
    """The gradient of a step is not a number; raised before it reaches the weights."""

    def __init__(self, result: StepResult) -> None:
        self.result = result
        norm, loss = result.metrics["grad_norm"], result.metrics["loss"]
        super().__init__(f"gradient norm {norm} at loss {loss} in step {result.step}")


def _silent(_warning: Warned) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class NonFiniteGuard:
    """Leaves out steps whose loss or gradient is no number, as many as it may."""

    max_skipped: int = 0
    """Steps that may be left out; 0 ends the run at the first."""
    warn: Callable[[Warned], None] = _silent
    skipped: int = 0

    def should_step(self, result: StepResult) -> bool:
        """Whether the optimizer may take the step. Raises `NotFinite` where the run is to end."""
        if result.is_finite:
            return True
        if self.skipped >= self.max_skipped:
            raise NotFinite(result)
        self.skipped += 1
        loss, norm = result.metrics["loss"], result.metrics["grad_norm"]
        self.warn(
            Warned(
                code="step_skipped",
                message=f"step {result.step} has the loss {loss} and the gradient norm {norm}: its "
                f"rows were left out, {self.skipped} of at most {self.max_skipped} times",
                fix="Look at those rows, or lower training.learning_rate",
            )
        )
        return False
