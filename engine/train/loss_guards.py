"""Between a gradient and the weights: what is no number is kept from them."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.events import Warned
from engine.train.progress import StepResult


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
