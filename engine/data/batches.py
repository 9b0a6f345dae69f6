"""Rows in sequences and sequences in batches, kept apart by positions instead of a mask.

Attention in Gemma is causal and transformers separates rows where positions restart, provided that
no attention mask is given: an all-ones mask would let packed rows see each other. Padding stands at
the right as a row of its own, so it needs no mask either.
"""

from dataclasses import dataclass

import torch

from engine.data.tokens import IGNORED, Tokens


@dataclass(frozen=True, slots=True)
class Sequence:
    """One or more rows in a line; all three lists have the same length."""

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]


def alone(row: Tokens) -> Sequence:
    """A row as its own sequence."""
    return Sequence(row.ids, row.labels, list(range(len(row.ids))))


def pack(rows: list[Tokens], length: int) -> list[Sequence]:
    """Rows in as few sequences of at most `length` tokens as first-fit decreasing finds."""
    bins: list[list[Tokens]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        place = next((i for i, free in enumerate(room) if free >= len(row.ids)), None)
        if place is None:
            place = len(bins)
            bins.append([])
            room.append(length)
        bins[place].append(row)
        room[place] -= len(row.ids)
    return [_joined(group) for group in bins]


def _joined(rows: list[Tokens]) -> Sequence:
    return Sequence(
        [token for row in rows for token in row.ids],
        [label for row in rows for label in row.labels],
        [position for row in rows for position in range(len(row.ids))],
    )


@dataclass(frozen=True, slots=True)
class Collator:
    """Sequences (as dictionaries of lists) to a batch of int64 tensors, each (batch, longest)."""

    pad_token_id: int

    def __call__(self, sequences: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Pad at the right; padding counts positions of its own from 0."""
        longest = max(len(sequence["input_ids"]) for sequence in sequences)

        def padded(name: str, padding: list[int]) -> torch.Tensor:
            return torch.tensor(
                [s[name] + padding[: longest - len(s["input_ids"])] for s in sequences]
            )

        return {
            "input_ids": padded("input_ids", [self.pad_token_id] * longest),
            "labels": padded("labels", [IGNORED] * longest),
            "position_ids": padded("position_ids", list(range(longest))),
        }
