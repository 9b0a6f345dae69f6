"""What a mean loss per token can be, told from the vocabulary and from how often it was right."""

import math


def uniform_loss(vocab_size: int) -> float:
    """Nats per token of a guess that spreads over the whole vocabulary."""
    return math.log(vocab_size)


def sane_loss(token_accuracy: float, vocab_size: int) -> float:
    """Nats per token below which a mean stays unless a model is sure of wrong answers.

    A wrong token costs about a uniform guess at most, and a right one next to nothing; where nearly
    all were right the bound stays at the cost of right tokens that were held for nine in ten.
    """
    return max((1 - token_accuracy) * uniform_loss(vocab_size), -math.log(0.9))


def least_loss(token_accuracy: float) -> float:
    """Nats per token that a mean takes at least: a wrong token had less than half of all."""
    return (1 - token_accuracy) * math.log(2)
