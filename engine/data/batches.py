"""Rows in sequences and sequences in batches, kept apart by positions instead of a mask.

Attention in Gemma is causal and transformers separates rows where positions restart, provided that
no attention mask is given: an all-ones mask would let packed rows see each other. Padding stands at
the right, where no token looks, so it needs no mask either: its positions go on, or it is a row of
its own, whichever suits the device.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import torch

from engine.data.encoding.tokens import IGNORED, Tokens

WEIGHTS = "loss_weights"
"""What the weights of the loss are called in a batch."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One or more rows in a line; all lists of tokens have the same length."""

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]
    images: tuple[str, ...] = ()
    """Files of the images among the tokens, in order."""
    loss_weights: Sequence[float] = ()
    """What the loss of each token is multiplied by; of a run's sequences all have some, or none."""


def alone(row: Tokens) -> TokenSequence:
    """A row as its own sequence."""
    return _joined([row], is_weighed=bool(row.weights))


@dataclass(frozen=True, slots=True)
class TokenSequences(Sequence[TokenSequence]):
    """Rows laid in sequences, each put together when it is asked for."""

    rows: Sequence[Tokens]
    groups: list[list[int]]
    """Which rows stand in each sequence."""
    is_weighed: bool = False
    """Whether any row weighs the loss of its tokens; then all sequences have weights."""

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, index: int) -> TokenSequence: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenSequence]: ...
    def __getitem__(self, index: int | slice) -> TokenSequence | list[TokenSequence]:
        """One sequence."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return _joined([self.rows[row] for row in self.groups[index]], self.is_weighed)


def apart(rows: Sequence[Tokens], *, is_weighed: bool = False) -> TokenSequences:
    """Each row as its own sequence."""
    return TokenSequences(rows, [[row] for row in range(len(rows))], is_weighed)


def pack(
    rows: Sequence[Tokens],
    length: int,
    sizes: list[int] | None = None,
    *,
    is_weighed: bool = False,
) -> TokenSequences:
    """Rows in as few sequences of at most `length` tokens as best-fit decreasing finds.

    `sizes` are the rows' tokens, where they are known without reading the rows.
    """
    groups = bins(sizes or [len(row.ids) for row in rows], length)
    return TokenSequences(rows, groups, is_weighed)


def bins(sizes: list[int], length: int) -> list[list[int]]:
    """Which sizes share a bin: each, largest first, in the fullest bin that has room for it."""
    groups: list[list[int]] = []
    by_room: dict[int, list[list[int]]] = {}
    rooms: list[int] = []
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        slot = bisect_left(rooms, sizes[item])
        if slot == len(rooms):
            group: list[int] = []
            groups.append(group)
            room = length
        else:
            room = rooms[slot]
            group = by_room[room].pop()
            if not by_room[room]:
                del rooms[slot]
        group.append(item)
        room_left = room - sizes[item]
        if not by_room.setdefault(room_left, []):
            insort(rooms, room_left)
        by_room[room_left].append(group)
    return groups


def efficiency(tokens: int, sequences: int, length: int) -> float:
    """Share of packed sequences that is rows, not padding up to their full length."""
    return tokens / (sequences * length)


def _joined(rows: list[Tokens], is_weighed: bool) -> TokenSequence:
    ones = ((row, [1.0] * len(row.ids)) for row in rows if is_weighed)
    return TokenSequence(
        [token for row in rows for token in row.ids],
        [label for row in rows for label in row.labels],
        [position for row in rows for position in range(len(row.ids))],
        tuple(image for row in rows for image in row.images),
        [weight for row, plain in ones for weight in row.weights or plain],
    )


class Collate(Protocol):
    """Sequences, as dictionaries of lists, to a micro-batch of tensors."""

    @property
    def pad_token_id(self) -> int:
        """What shorter sequences are filled up with."""
        ...

    def __call__(self, sequences: list[dict[str, Any]]) -> dict[str, Any]:
        """One micro-batch."""
        ...


@dataclass(frozen=True, slots=True)
class Collator:
    """Sequences (as dictionaries of lists) to a batch of int64 tensors, each (batch, longest).

    Weights of the loss are float32, and there where the sequences have them.
    """

    pad_token_id: int
    counts_on: bool = True
    """Whether positions go on in the padding; else it counts from 0, as a row of its own."""

    def __call__(self, sequences: list[dict[str, list[Any]]]) -> dict[str, torch.Tensor]:
        """Pad at the right."""
        longest = max(len(sequence["input_ids"]) for sequence in sequences)

        def padded(name: str, padding: list[Any]) -> torch.Tensor:
            return torch.tensor(
                [s[name] + padding[: longest - len(s["input_ids"])] for s in sequences]
            )

        batch = {
            "input_ids": padded("input_ids", [self.pad_token_id] * longest),
            "labels": padded("labels", [IGNORED] * longest),
            "position_ids": torch.tensor([self._positions(s, longest) for s in sequences]),
        }
        if WEIGHTS in sequences[0]:
            batch[WEIGHTS] = padded(WEIGHTS, [1.0] * longest)
        return batch

    def _positions(self, sequence: dict[str, list[Any]], longest: int) -> list[int]:
        positions: list[int] = sequence["position_ids"]
        first = positions[-1] + 1 if self.counts_on else 0
        return positions + list(range(first, first + longest - len(positions)))
