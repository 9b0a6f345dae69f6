"""How long a step takes, from shapes and a profile: known to about a factor of two."""

import math
from dataclasses import dataclass

from engine.budget.step_shape import StepShape
from engine.gemma import parameters
from engine.gemma.shapes import Gemma
from engine.hardware.profiles import Profile
from engine.recipe.schema import Recipe

_EFFICIENCY = 0.4
"""Share of the stated arithmetic that large matrix products reach; a guess."""
_BANDWIDTH_EFFICIENCY = 0.7
"""Share of the stated bandwidth that copies reach; a guess."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one optimizer step with all its micro-batches."""

    step_s: float
    tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Positions per second, padding among them."""
        return self.tokens / self.step_s

    def hours(self, steps: int) -> float:
        """Of so many steps, loading and samples not counted."""
        return steps * self.step_s / 3600


def estimate(gemma: Gemma, step: StepShape, profile: Profile, micro_batches: int) -> Pace | None:
    """The time of a step, or None for a device whose speed is not known.

    Frozen weights cost one product forward and one backward; checkpointing runs layers forward once
    more. A weight is read for each, and in 4 bits spelled out before it.
    """
    tflops = profile.tflops_in(step.dtype)
    if tflops is None or profile.bandwidth_gb_s is None:
        return None
    passes = 3 if step.gradient_checkpointing else 2
    arithmetic = 2 * _active_weights(gemma) * step.tokens + _attention(gemma, step)
    head = 2 * 3 * gemma.vocab_size * gemma.hidden_size * step.scored_tokens
    moved = _weights(gemma) * (5 if step.quantization == "nf4" else step.width)
    seconds = (passes * arithmetic + head) / (tflops * 1e12 * _EFFICIENCY)
    seconds += passes * moved / (profile.bandwidth_gb_s * 1e9 * _BANDWIDTH_EFFICIENCY)
    return Pace(seconds * micro_batches, step.tokens * micro_batches)


def steps(recipe: Recipe) -> int | None:
    """How many steps it has, where the recipe alone tells."""
    training, sources = recipe.training, recipe.data.sources
    if training.max_steps > 0:
        return training.max_steps
    if recipe.data.packing or not all(isinstance(source.rows, int) for source in sources):
        return None
    rows = sum((source.rows or 0) * source.weight for source in sources)
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return math.ceil(math.ceil(rows / batch) * training.num_train_epochs)


def _active_weights(gemma: Gemma) -> int:
    """Weights that one token is multiplied with."""
    share = gemma.experts.per_token / gemma.experts.count if gemma.experts else 0.0
    return parameters.projections(gemma) + round(
        share * parameters.experts(gemma) * len(gemma.layers)
    )


def _weights(gemma: Gemma) -> int:
    return parameters.projections(gemma) + parameters.experts(gemma) * len(gemma.layers)


def _attention(gemma: Gemma, step: StepShape) -> float:
    """Scores and their sums, over the half of each row's positions that a causal mask leaves."""
    positions = {"full": step.length / 2, "sliding": min(step.length / 2, gemma.sliding_window)}
    return sum(
        4.0 * step.tokens * positions[layer.attention] * gemma.heads * layer.head_width
        for layer in gemma.layers
    )
