"""Checks on the figures of a run while it goes on."""

import math

from engine.events import Warned


class NotFinite(Exception):
    """The gradient of a step is not a number; raised before it reaches the weights."""

    def __init__(self, step: int, loss: float, grad_norm: float) -> None:
        self.step = step
        self.loss = loss
        super().__init__(f"gradient norm {grad_norm} at loss {loss} in step {step}")


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
