"""Checks on the figures of a run while it goes on."""

import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.events import Warned

_WINDOW_STEPS, _FEWEST_STEPS, _QUIET_STEPS = 50, 20, 20
_SPIKE_DEVIATIONS, _SPIKE_RATIO = 8.0, 1.5
_NORMAL = 1.4826
"""The standard deviation of normal numbers over their median absolute deviation."""


class NotFinite(Exception):
    """The gradient of a step is not a number; raised before it reaches the weights."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        self.step = step
        self.loss = loss
        super().__init__(f"gradient norm {grad_norm} at loss {loss} in step {step}")


class NotSaved(Exception):
    """A checkpoint could not be saved, and the recipe wants the run to end by that."""


def _untold(_warned: Warned) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class Guard:
    """Between a gradient and the weights: keeps from them what is no number."""

    most_skipped: int = 0
    """Steps that may be left out; 0 ends the run at the first."""
    tell: Callable[[Warned], None] = _untold
    skipped: int = 0

    def lets_pass(self, step: int, loss: float, grad_norm: float) -> bool:
        """Whether the step may be taken. Raises `NotFinite` where the run is to end instead."""
        if math.isfinite(loss) and math.isfinite(grad_norm):
            return True
        if self.skipped >= self.most_skipped:
            raise NotFinite(step, loss, grad_norm)
        self.skipped += 1
        self.tell(
            Warned(
                code="step_skipped",
                message=f"step {step} has the loss {loss} and the gradient norm {grad_norm}: its "
                f"rows were left out, {self.skipped} of at most {self.most_skipped} times",
                fix="Look at those rows, or lower training.learning_rate",
            )
        )
        return False


class Spikes:
    """Watches for a loss far above those before it."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=_WINDOW_STEPS)
        self._told_at = -math.inf

    def judge(self, step: int, loss: float) -> Warned | None:
        """A warning where it is one: far from the median by the others' own spread, and by half."""
        losses = list(self._losses)
        self._losses.append(loss)
        if len(losses) < _FEWEST_STEPS or step - self._told_at < _QUIET_STEPS:
            return None
        median = statistics.median(losses)
        spread = _NORMAL * statistics.median(abs(one - median) for one in losses)
        if loss <= max(median + _SPIKE_DEVIATIONS * spread, _SPIKE_RATIO * median):
            return None
        self._told_at = step
        return Warned(
            code="loss_spike",
            message=f"the loss of step {step} is {loss:.3f}, where the {len(losses)} steps before "
            f"it had a median of {median:.3f}",
            fix="Where it stays up, stop and go on from an older checkpoint with a lower "
            "training.learning_rate: gemma-bench resume RUN --branch",
        )


def sanity(
    loss: float, token_accuracy: float, vocab_size: int, accumulation_steps: int
) -> Warned | None:
    """What a first loss tells about the run: nothing, a broken forward pass, or a wrong mean.

    A uniform guess over the vocabulary costs ln(vocab_size) per token, and tokens answered right
    cost next to nothing, so a mean per token stays below (1 - accuracy) * ln(vocab_size) unless
    the model is sure of wrong answers. A small model can be, so that the second bound counts only
    where there are accumulation steps that a wrong mean could have summed.
    """
    uniform = math.log(vocab_size)
    if loss > uniform:
        return Warned(
            code="forward_broken",
            message=f"the first loss is {loss:.2f}, worse than a uniform guess ({uniform:.2f})",
            fix="Check the model's files; on text in a script it never saw this can be honest",
        )
    bound = (1 - token_accuracy) * uniform
    if accumulation_steps > 1 and loss > bound:
        return Warned(
            code="loss_not_a_mean",
            message=f"the first loss is {loss:.2f}, but {token_accuracy:.0%} of the tokens were "
            f"right, which bounds a mean per token by {bound:.2f}",
            fix=f"It may be a sum over {accumulation_steps} accumulation steps; "
            "compare runs by accuracy",
        )
    return None
