"""Adapters switched on and off without a visit to every weight.

PEFT's own switches also set whether each weight requires a gradient, which takes as long as a
token of an answer.
"""

from collections.abc import Iterable

from peft.tuners.tuners_utils import BaseTunerLayer

from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor(
    "peft", ">=0.20,<0.22", ("peft.tuners.tuners_utils:BaseTunerLayer._disable_adapters",)
)


def enable_adapters(layers: Iterable[BaseTunerLayer], is_enabled: bool) -> None:
    """Let layers answer with their adapter, or as the base does."""
    for layer in layers:
        layer._disable_adapters = not is_enabled
