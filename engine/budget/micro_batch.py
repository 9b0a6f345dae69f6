"""The longest micro-batch of each objective, which is all that the ledger has to know of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.recipe.schema import Recipe

SFT = "sft"


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward and backward pass takes."""

    sequences: int
    length: int
    """Tokens of each sequence."""
    is_packed: bool
    """Whether positions restart within a sequence, of several rows."""
    supervised_tokens: int | None = None
    """Tokens that carry loss; None is all of them."""


def _of_fine_tuning(recipe: Recipe) -> MicroBatch:
    """A sequence for each row of the batch, or for as many rows as packing lays together."""
    batch = recipe.training.per_device_train_batch_size
    return MicroBatch(batch, recipe.data.max_length, recipe.data.packing)


LONGEST: Mapping[str, Callable[[Recipe], MicroBatch]] = {SFT: _of_fine_tuning}
"""By the `name` of an objective in `engine/objectives`; a recipe has no other one yet."""
