"""Conversations as token ids, packed into full rows that do not see one another."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerBase

from tools.embedded_model.corpus.conversations import Conversation
from tools.embedded_model.splitting import merged_pairs, split

IGNORED = -100
OPEN_ROWS = 48


@dataclass
class Row:
    """Conversations laid end to end: ids, labels of the model's words, position in each."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def add(self, ids: list[int], labels: list[int]) -> None:
        """Appends one conversation."""
        self.ids += ids
        self.labels += labels
        self.positions += range(len(ids))

    def fill(self, length: int) -> None:
        """Pads to `length`; the padding is a sample of its own and teaches nothing."""
        rest = length - len(self.ids)
        self.add([0] * rest, [IGNORED] * rest)


def pieces(said: Conversation) -> Iterator[tuple[str, bool]]:
    """The conversation as Gemma 4's template renders it, cut where the model's words begin and end.

    The model learns its words with the `<turn|>` that ends them.
    """
    lead = "<bos>"
    if said.system is not None:
        lead += f"<|turn>system\n{said.system}<turn|>\n"
    for user, model in said.turns:
        yield f"{lead}<|turn>user\n{user}<turn|>\n<|turn>model\n", False
        yield f"{model}<turn|>", True
        lead = "\n"
    yield lead, False


def encoded(said: Conversation, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Token ids and labels of a conversation."""
    ids: list[int] = []
    labels: list[int] = []
    for text, taught in pieces(said):
        piece = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        ids += piece
        labels += piece if taught else [IGNORED] * len(piece)
    return ids, labels


def rows(
    source: Iterator[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    learnt_whole: float,
    seed: int,
) -> Iterator[Row]:
    """Rows of exactly `length` tokens; a conversation goes into the fullest row it fits.

    The share `learnt_whole` of the conversations is spelled in smaller pieces and learnt with the
    user's words too.
    """
    rng, pairs = random.Random(seed), merged_pairs(tokenizer)
    waiting: list[Row] = []
    for said in source:
        ids, labels = encoded(said, tokenizer)
        if rng.random() < learnt_whole:
            ids = split(ids, pairs, rng)
            labels = [IGNORED, *ids[1:]]
        if len(ids) > length:
            continue
        waiting.sort(key=lambda row: len(row.ids), reverse=True)
        row = next((row for row in waiting if len(row.ids) + len(ids) <= length), None)
        if row is None:
            row = Row()
            waiting.append(row)
        row.add(ids, labels)
        if len(waiting) > OPEN_ROWS or len(waiting[0].ids) == length:
            full = waiting.pop(0)
            full.fill(length)
            yield full


def batches(
    source: Iterator[Row], size: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches of (ids, positions, labels), each of shape (size, length), rows shuffled a little."""
    rng = random.Random(seed)
    while True:
        group = [next(source) for _ in range(4 * size)]
        rng.shuffle(group)
        for start in range(0, len(group), size):
            part = group[start : start + size]
            yield (
                torch.tensor([row.ids for row in part]),
                torch.tensor([row.positions for row in part]),
                torch.tensor([row.labels for row in part]),
            )
