"""Rows that are kept for judging: whole conversations, never trained on, and what is like them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from engine.data.arrow_store import Rows
from engine.data.checks import texts
from engine.data.conversation import Conversation
from engine.data.reading.progress import Progress
from engine.problems import Refusal
from engine.sessions.source_report import HeldoutReport

HELD_OUT = "a row that is held out"
_THRESHOLD, _PERMUTATIONS = 0.8, 128
"""Jaccard similarity from which rows are near-duplicates; the estimate's error is under a tenth."""
_WORDS = 3
"""In a shingle; rows are short, and five would miss a changed word."""


def drawn(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows are held out: (rows,) of bool, about `share` of them and at least one.

    `groups` are (rows,) of int64, alike where rows begin with the same question; a group is held
    out whole or not at all. Raises `Refusal` where that leaves nothing to train on.
    """
    if not len(groups):
        return np.zeros(0, bool)
    names, owners, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    left = max(1, round(share * len(groups)))
    is_held = np.zeros(len(names), bool)
    for name, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if size <= left:
            is_held[name] = True
            left -= size
    if not is_held.any():
        is_held[np.argmin(sizes)] = True
    if is_held.all():
        reason = "all rows begin with the same question, so none can be held out"
        raise Refusal.of("data.heldout", reason, "Give a file with other rows instead of a share")
    return np.asarray(is_held[owners])


def near_duplicates(
    trained: Rows, heldout: Rows, origins: Sequence[Sequence[str]], progress: Progress
) -> HeldoutReport:
    """How many trained rows are nearly the same as a held-out one, by MinHash of their words.

    Broder, "On the resemblance and containment of documents" (1997), as datasketch has it.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=_THRESHOLD, num_perm=_PERMUTATIONS)
    for row, sketch in enumerate(_sketches(heldout)):
        index.insert(row, sketch)
    count, first = 0, ("", "")
    trained = trained.once()
    for row, sketch in enumerate(_sketches(trained)):
        progress.at("data.heldout", row, f"of {len(trained):,} compared")
        alike = index.query(sketch)
        if alike:
            first = first if count else (
                _place(trained, row, origins), _place(heldout, min(alike), origins)
            )  # fmt: skip
            count += 1
    return HeldoutReport(len(heldout), count, *first)


def _sketches(rows: Rows) -> Iterator[Any]:
    from datasketch import MinHash

    for row in range(len(rows)):
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch(_shingles(rows.turns(row)))
        yield sketch


def _shingles(turns: Conversation) -> list[bytes]:
    words = re.findall(r"\w+", " ".join(texts(turns)).lower())
    last = max(1, len(words) - _WORDS + 1)
    return [" ".join(words[at : at + _WORDS]).encode("utf-8", "replace") for at in range(last)]


def _place(rows: Rows, row: int, origins: Sequence[Sequence[str]]) -> str:
    file = origins[rows.cell(row, "source")][rows.cell(row, "file")]
    return f"{file}:{rows.cell(row, 'number')}"
