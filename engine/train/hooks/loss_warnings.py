"""Warnings by the losses of a run while it goes on."""

import math
import statistics
from collections import deque

from engine.events import Warned
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

_WINDOW_STEPS, _FEWEST_STEPS, _QUIET_STEPS = 50, 20, 20
_SPIKE_DEVIATIONS, _SPIKE_RATIO = 8.0, 1.5
_NORMAL = 1.4826
"""The standard deviation of normal numbers over their median absolute deviation."""


class LossWarnings(Hook):
    """Warns of a first loss that can't be right, and of later ones far above those before."""

    def __init__(self, log: EventLog, vocab_size: int, accumulation_steps: int) -> None:
        self._log = log
        self._vocab_size = vocab_size
        self._accumulation_steps = accumulation_steps
        self._spikes = Spikes()
        self._is_first = True

    def on_train_begin(self, state: TrainingState) -> None:
        """A run that goes on had its first loss before."""
        self._is_first = state.progress.step == 0

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Append the warnings of a step, ahead of its own event."""
        loss = result.metrics["loss"]
        if math.isfinite(loss):
            warnings = [self._spikes.judge(result.step, loss)]
            if self._is_first:
                accuracy = result.metrics.get("token_accuracy", 0.0)
                warnings.append(sanity(loss, accuracy, self._vocab_size, self._accumulation_steps))
            for warning in filter(None, warnings):
                self._log.append(warning)
        self._is_first = False


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
