"""Rows of all sources into one file, and how often each is seen: the same for the same seeds."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.data.arrow_store import Rows, Writer
from engine.data.row_pipeline import DroppedRow, KeptRow, settings
from engine.data.source_report import SourceReport
from engine.data.sources import Opened
from engine.data.worker_pool import WorkerPool
from engine.recipe.schema import Data

DUPLICATE = "a duplicate of an earlier row"
CONTRADICTION = "the prompt of an earlier row with another answer"
_BINS = 10


class _Seen:
    """Which rows and prompts came before, by their hashes."""

    def __init__(self) -> None:
        self._rows: set[int] = set()
        self._prompts: set[int] = set()

    def is_duplicate(self, row: KeptRow) -> bool:
        """Whether the very row came before."""
        is_known = row.hash in self._rows
        self._rows.add(row.hash)
        return is_known

    def is_contradiction(self, row: KeptRow) -> bool:
        """Whether another answer to the same prompt came before; a bare text has no prompt."""
        is_known = row.prompt_hash in self._prompts
        self._prompts.add(row.prompt_hash)
        return is_known and len(row.turns) > 1


def write(
    data: Data, sources: list[Opened], crew: WorkerPool, path: Path, images: set[str]
) -> list[SourceReport]:
    """Write the rows of all sources, one after the other, with an account of each.

    `images` gets the image files that any row names.
    """
    writer = Writer(path)
    try:
        found = _written(data, sources, crew, writer, images)
    except BaseException:
        writer.discard()
        raise
    writer.close()
    return found


def _written(
    data: Data, sources: list[Opened], crew: WorkerPool, writer: Writer, images: set[str]
) -> list[SourceReport]:
    found, seen = [], _Seen()
    for number, source in enumerate(sources):
        account = SourceReport(source.source.label, source.format, source.asked)
        for file, rows in _ground(data, source, crew):
            images.update(image for row in rows for image in row.images)
            kept = _kept(rows, source.shelves[file].origin, account, seen)
            writer.write(number, file, kept)
            if account.taken >= source.asked:
                break
        found.append(account)
    return found


def _ground(
    data: Data, source: Opened, crew: WorkerPool
) -> Iterator[tuple[int, list[KeptRow | DroppedRow]]]:
    folders = [str(Path(shelf.origin).parent) for shelf in source.shelves]
    chosen = [settings(data, source.source, source.format, folder) for folder in folders]
    yield from crew.ground(
        (file, chosen[file], source.shelves[file], rows) for file, rows in source.drawn(data.seed)
    )


def _kept(
    rows: list[KeptRow | DroppedRow], origin: str, account: SourceReport, seen: _Seen
) -> list[KeptRow]:
    kept: list[KeptRow] = []
    for row in rows:
        where = f"{origin}:{row.number}"
        if account.taken >= account.asked:
            break
        if isinstance(row, DroppedRow):
            account.drop(row.reason, where)
        elif seen.is_duplicate(row):
            account.drop(DUPLICATE, where)
        else:
            notes = (*row.notes, CONTRADICTION) if seen.is_contradiction(row) else row.notes
            for note in notes:
                account.note(note, where)
            account.taken += 1
            kept.append(row)
    return kept


def order(data: Data, rows: Rows, accounts: list[SourceReport]) -> np.ndarray:
    """Rows of one epoch, each as often as its source's weight says; measures the sources."""
    owners = rows.column("source")
    parts = [np.zeros(0, np.int64)]
    for number, (source, account) in enumerate(zip(data.sources, accounts, strict=True)):
        own = np.flatnonzero(owners == number)
        _measure(account, rows, own)
        whole, part = divmod(source.weight, 1.0)
        draw = np.random.default_rng([data.seed, source.seed, number])
        drawn = round(part * len(own)) if whole else max(1, round(part * len(own)))
        extra = np.sort(draw.permutation(own)[:drawn])
        parts += [np.tile(own, int(whole)), extra]
        account.seen = len(own) * int(whole) + len(extra)
    return np.concatenate(parts)


def _measure(account: SourceReport, rows: Rows, own: np.ndarray) -> None:
    if not len(own):
        return
    lengths = rows.column("length")[own]
    account.p50, account.p95 = (int(np.percentile(lengths, share)) for share in (50, 95))
    account.longest = int(lengths.max())
    account.histogram = histogram(lengths, account.p95)
    account.truncated_share = float(rows.column("is_truncated")[own].mean())
    supervised = rows.column("supervised")[own].sum()
    account.supervised_share = float(supervised / rows.sizes()[own].sum())


def histogram(lengths: np.ndarray, p95: int) -> list[list[int]]:
    """[most tokens, rows] of up to ten bins of a round width; the last holds all that is longer."""
    width = next(w for w in _widths() if w * _BINS >= p95)
    bins = np.minimum((lengths - 1) // width, _BINS - 1)
    counts = np.bincount(bins.astype(np.int64)).tolist()
    tops = [width * (number + 1) for number in range(len(counts))]
    if len(counts) == _BINS:
        tops[-1] = max(tops[-1], int(lengths.max()))
    return [[top, rows] for top, rows in zip(tops, counts, strict=True)]


def _widths() -> Iterator[int]:
    for power in itertools.count():
        yield from (digit * 10**power for digit in (1, 2, 5))
