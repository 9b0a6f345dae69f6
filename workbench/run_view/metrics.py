"""What charts show of a run: one entry per series, with how its numbers are written."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.text import format


@dataclass(frozen=True, slots=True)
class Measure:
    """One series over the steps."""

    column: str
    """A field of step events."""
    title: str
    written: Callable[[float], str] = "{:.4g}".format
    is_noisy: bool = False
    """Shown smoothed, with what was measured behind it."""
    has_log: bool = False
    """Worth a logarithmic scale."""


LOSS = Measure("loss", "loss", is_noisy=True, has_log=True)
TOKEN_ACCURACY = Measure("token_accuracy", "token accuracy", format.share, is_noisy=True)
LEARNING_RATE = Measure("learning_rate", "learning rate", "{:.2e}".format, has_log=True)
GRAD_NORM = Measure("grad_norm", "gradient norm", is_noisy=True, has_log=True)
TOKENS_PER_S = Measure("tokens_per_s", "tokens/s", format.count, is_noisy=True)
RESERVED_GIB = Measure("reserved_gib", "memory reserved, GiB", "{:.2f}".format)
RSS_GIB = Measure("rss_gib", "memory of the process, GiB", "{:.2f}".format)
CHOICES = (LOSS, TOKEN_ACCURACY, LEARNING_RATE, GRAD_NORM, TOKENS_PER_S, RESERVED_GIB, RSS_GIB)
