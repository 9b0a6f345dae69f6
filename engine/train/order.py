"""The order of sequences: of each epoch by itself, so that a run can go on in any of them."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class _Order(Sampler[int]):
    """A permutation per epoch that follows from the seed and the epoch's number alone."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another permutation; accelerate calls it as an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self._drawn(torch.Generator().manual_seed(self._seed + self._epoch)))

    def _drawn(self, generator: torch.Generator) -> list[int]:
        raise NotImplementedError


class LongestFirst(_Order):
    """The first `batch` sequences, of a whole optimizer step, are the longest there are.

    A card that is too small then fails in the first step, and CUDA's allocator never has to place a
    larger block than it has placed before.
    """

    def _drawn(self, generator: torch.Generator) -> list[int]:
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        longest = sorted(order, key=lambda place: -self._lengths[place])[: self._batch]
        front = set(longest)
        return [*longest, *(place for place in order if place not in front)]


class GroupedByLength(_Order):
    """Sequences of like length together, the longest first; `batch` is of a whole optimizer step.

    As transformers' LengthGroupedSampler draws them, which goes on from what it drew before.
    """

    def _drawn(self, generator: torch.Generator) -> list[int]:
        drawn: list[int] = get_length_grouped_indices(
            self._lengths, self._batch, generator=generator
        )
        return drawn
