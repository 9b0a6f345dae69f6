"""The order of sequences, with the longest micro-batch at the front."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class LongestFirst(Sampler[int]):
    """A seeded permutation per epoch whose first `batch` sequences are the longest there are.

    A card that is too small then fails in the first step, and CUDA's allocator never has to place a
    larger block than it has placed before.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another permutation; accelerate calls it as an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        longest = sorted(order, key=lambda place: -self._lengths[place])[: self._batch]
        front = set(longest)
        yield from longest
        yield from (place for place in order if place not in front)
