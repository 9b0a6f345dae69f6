"""Spells some words in smaller pieces, so that every entry of the vocabulary is learnt.

Byte-pair merging leaves entries that are only steps towards longer ones. Never met in training,
they could not be said afterwards either: their rows of the tied embedding only ever learn to be
unlikely. Undoing merges at random is the remedy of Provilkov et al., "BPE-Dropout" (2020).
"""

import json
import random

from transformers import PreTrainedTokenizerBase

UNDONE = 0.3


def merged_pairs(tokenizer: PreTrainedTokenizerBase) -> dict[int, tuple[int, int]]:
    """For the id of every merged entry, the ids of the two entries it was merged from."""
    table = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    ids = table["vocab"]
    return {ids[left + right]: (ids[left], ids[right]) for left, right in table["merges"]}


def split(ids: list[int], pairs: dict[int, tuple[int, int]], rng: random.Random) -> list[int]:
    """The same text with each merge undone at random, and the merges below it likewise."""
    pieces: list[int] = []
    for token in ids:
        if token in pairs and rng.random() < UNDONE:
            pieces += split(list(pairs[token]), pairs, rng)
        else:
            pieces.append(token)
    return pieces
