"""The order of sequences: of each epoch by itself, so that a run can go on in any of them."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from engine.recipe.schema import Data


class Shuffled(Sampler[int]):
    """A permutation per epoch that follows from the seed and the epoch's number alone.

    `rows_per_step` are the sequences of a whole optimizer step.
    """

    def __init__(self, lengths: Sequence[int], rows_per_step: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._rows_per_step = rows_per_step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another permutation; accelerate calls it as an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self._permutation(torch.Generator().manual_seed(self._seed + self._epoch)))

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order: list[int] = torch.randperm(len(self._lengths), generator=generator).tolist()
        return order


class LongestFirst(Shuffled):
    """The sequences of the first optimizer step are the longest there are.

    A card that is too small then fails in the first step, and CUDA's allocator never has to place a
    larger block than it has placed before.
    """

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order = super()._permutation(generator)
        longest = sorted(order, key=lambda row: -self._lengths[row])[: self._rows_per_step]
        in_front = set(longest)
        return [*longest, *(row for row in order if row not in in_front)]


class GroupedByLength(Shuffled):
    """Sequences of like length together, the longest first.

    As transformers' LengthGroupedSampler draws them, which goes on from what it drew before.
    """

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order: list[int] = get_length_grouped_indices(
            self._lengths, self._rows_per_step, generator=generator
        )
        return order


def order_of(lengths: Sequence[int], rows_per_step: int, data: Data, device: str) -> Shuffled:
    """The order that suits rows and device.

    Rows of a batch are padded to the longest, so like lengths stand together; packed sequences are
    all about as long.
    """
    if not data.packing:
        return GroupedByLength(lengths, rows_per_step, data.seed)
    kind = Shuffled if device == "cpu" else LongestFirst
    return kind(lengths, rows_per_step, data.seed)
