"""Warnings by the losses of a run while it goes on."""

import math
import statistics
from collections import deque

from engine.events import Warned
from engine.loss_bounds import least_loss, sane_loss, uniform_loss
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

_WINDOW_STEPS, _FEWEST_STEPS, _QUIET_STEPS = 50, 20, 20
_SPIKE_DEVIATIONS, _SPIKE_RATIO, _SPIKE_NATS = 8.0, 1.5, 0.2
"""How far above the others it is: by their own spread, by half of their median, and by this much
per token, since ten times nearly nothing is still nothing."""
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
            warnings = [self._spikes.judge(result.step, loss, result.supervised_tokens)]
            if self._is_first:
                accuracy = result.metrics.get("token_accuracy", 0.0)
                warnings.append(sanity(loss, accuracy, self._vocab_size, self._accumulation_steps))
            for warning in filter(None, warnings):
                self._log.append(warning)
        self._is_first = False


class Spikes:
    """Watches for a loss far above those before it, as far as its number of tokens can tell."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque(maxlen=_WINDOW_STEPS)
        self._warned_at = -math.inf

    def judge(self, step: int, loss: float, supervised_tokens: int) -> Warned | None:
        """A warning where it is one.

        The mean of n tokens strays from the others by 1 / sqrt(n), so each distance from the
        median counts times sqrt(n / the median of n): a step of few tokens has to be further off.
        """
        steps = list(self._steps)
        self._steps.append((loss, supervised_tokens))
        if len(steps) < _FEWEST_STEPS or step - self._warned_at < _QUIET_STEPS:
            return None
        median = statistics.median(loss for loss, _ in steps)
        usual_tokens = max(1, statistics.median(tokens for _, tokens in steps))
        distances = [(one - median) * math.sqrt(tokens / usual_tokens) for one, tokens in steps]
        spread = _NORMAL * statistics.median(map(abs, distances))
        rise = (loss - median) * math.sqrt(min(1.0, supervised_tokens / usual_tokens))
        if rise <= max(_SPIKE_DEVIATIONS * spread, (_SPIKE_RATIO - 1) * median, _SPIKE_NATS):
            return None
        self._warned_at = step
        return Warned(
            code="loss_spike",
            message=f"the loss of step {step} is {loss:.3g}, where the {len(steps)} steps before "
            f"it had a median of {median:.3g}",
            fix="Where it stays up, stop and go on from an older checkpoint with a lower "
            "training.learning_rate: gemma-bench resume RUN --branch",
        )


def sanity(
    loss: float, token_accuracy: float, vocab_size: int, accumulation_steps: int
) -> Warned | None:
    """What a first loss tells about the run: nothing, a broken forward pass, or a wrong mean.

    A mean per token stays below `sane_loss` unless the model is sure of wrong answers. A small
    model can be, so that this counts only where a sum over the accumulation steps would be as
    large: that takes `least_loss` of each of them.
    """
    uniform = uniform_loss(vocab_size)
    may_be_sum = accumulation_steps > 1 and loss >= accumulation_steps * least_loss(token_accuracy)
    if loss > uniform:
        or_sum = f"; it may be a sum over {accumulation_steps} accumulation steps"
        return Warned(
            code="forward_broken",
            message=f"the first loss is {loss:.2f}, worse than a uniform guess ({uniform:.2f})",
            fix="Check the model's files; on text in a script it never saw this can be honest"
            + or_sum * may_be_sum,
        )
    bound = sane_loss(token_accuracy, vocab_size)
    if may_be_sum and loss > bound:
        return Warned(
            code="loss_not_a_mean",
            message=f"the first loss is {loss:.2f}, but {token_accuracy:.0%} of the tokens were "
            f"right, which bounds a mean per token by {bound:.2f}",
            fix=f"It may be a sum over {accumulation_steps} accumulation steps; "
            "compare runs by accuracy",
        )
    return None
