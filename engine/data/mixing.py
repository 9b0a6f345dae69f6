"""Rows of all sources into one file, and how often each is seen: the same for the same seeds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from engine.data import heldout
from engine.data.arrow_store import Rows, Writer
from engine.data.heldout import HELD_OUT
from engine.data.reading.progress import Progress
from engine.data.reading.sources import Opened
from engine.data.row_counts import RowCounts, measured
from engine.data.row_pipeline import DroppedRow, KeptRow, WorkerPool, row_settings
from engine.recipe.schema import Data
from engine.sessions.source_report import SourceReport

DUPLICATE = "a duplicate of an earlier row"
CONTRADICTION = "the prompt of an earlier row with another answer"


class _EarlierRows:
    """Which rows and prompts came before, by their hashes."""

    def __init__(self, held_out: set[int] | None = None) -> None:
        self.held_out = held_out or set()
        """Hashes of rows that are not to be trained on."""
        self.rows: set[int] = set()
        self._prompts: set[int] = set()

    def is_duplicate(self, row: KeptRow) -> bool:
        """Whether the very row came before."""
        is_known = row.hash in self.rows
        self.rows.add(row.hash)
        return is_known

    def is_contradiction(self, row: KeptRow) -> bool:
        """Whether another answer to the same prompt came before; a bare text has no prompt."""
        if row.prompt_hash is None:
            return False
        is_known = row.prompt_hash in self._prompts
        self._prompts.add(row.prompt_hash)
        return is_known


def write(
    data: Data,
    sources: list[Opened],
    held_out: Opened | None,
    pool: WorkerPool,
    path: Path,
    images: set[str],
    progress: Progress,
) -> list[RowCounts]:
    """Write the rows of all sources, one after the other, with counts of each.

    Those of a file that is held out have the number after the last source's, and its counts stand
    last; what is in it is dropped from the sources.
    `images` gets the image files that any row names.
    """
    writer = Writer(path)
    try:
        all_counts = _written(data, sources, held_out, pool, writer, images, progress)
    except BaseException:
        writer.discard()
        raise
    writer.close()
    return all_counts


def _written(
    data: Data,
    sources: list[Opened],
    held_out: Opened | None,
    pool: WorkerPool,
    writer: Writer,
    images: set[str],
    progress: Progress,
) -> list[RowCounts]:
    all_counts: list[RowCounts] = []
    judged = _EarlierRows()
    order = [*([(len(sources), held_out)] if held_out else ()), *enumerate(sources)]
    earlier = judged
    for number, source in order:
        if source is not held_out and earlier is judged:
            earlier = _EarlierRows(judged.rows)
        counts, done = RowCounts(source.source.label, source.format, source.quota), 0
        for file, rows in _processed(data, source, pool):
            images.update(image for row in rows for image in row.images)
            accepted = _taken_rows(rows, source.indexes[file].origin, counts, earlier)
            writer.write(number, file, accepted)
            done += len(rows)
            progress.at(source.source.label, done, f"of {len(source):,} prepared")
            if counts.num_taken >= source.quota:
                break
        all_counts.append(counts)
    return all_counts[1:] + all_counts[:1] if held_out else all_counts


def _processed(
    data: Data, source: Opened, pool: WorkerPool
) -> Iterator[tuple[int, list[KeptRow | DroppedRow]]]:
    settings = [
        row_settings(data, source.source, source.format, Path(index.origin), source.images)
        for index in source.indexes
    ]
    yield from pool.process(
        (file, settings[file], source.indexes[file], rows) for file, rows in source.drawn(data.seed)
    )


def _taken_rows(
    rows: list[KeptRow | DroppedRow], origin: str, counts: RowCounts, earlier: _EarlierRows
) -> list[KeptRow]:
    accepted: list[KeptRow] = []
    for row in rows:
        where = f"{origin}:{row.number}"
        # One row of a file may have become several, one for each answer.
        is_another = not accepted or accepted[-1].number != row.number
        if is_another and counts.num_taken >= counts.quota:
            break
        if isinstance(row, DroppedRow):
            counts.drop(row.reason, where)
        elif row.hash in earlier.held_out:
            counts.drop(HELD_OUT, where)
        elif earlier.is_duplicate(row):
            counts.drop(DUPLICATE, where)
        else:
            notes = (*row.notes, CONTRADICTION) if earlier.is_contradiction(row) else row.notes
            for note in notes:
                counts.note(note, where)
            counts.count_unread(row.unread if is_another else ())
            counts.num_taken += is_another
            accepted.append(row)
    return accepted


def held_out(data: Data, rows: Rows) -> np.ndarray:
    """Which rows are not trained on: (rows,) of bool."""
    if isinstance(data.heldout, float):
        return heldout.drawn(rows.column("group"), data.heldout, data.seed)
    return rows.column("source") == len(data.sources)


def epoch(
    data: Data, rows: Rows, counts: Sequence[RowCounts], is_held: np.ndarray
) -> tuple[np.ndarray, tuple[SourceReport, ...]]:
    """Rows of one epoch, each as often as its source's weight says, and a report of each source.

    The rows are int64 indices into `rows`; those of `is_held`, (rows,) of bool, are none of them.
    """
    owners = rows.column("source")
    parts, reports = [np.zeros(0, np.int64)], []
    for number, (source, count) in enumerate(zip(data.sources, counts, strict=False)):
        own = np.flatnonzero((owners == number) & ~is_held)
        whole, part = divmod(source.weight, 1.0)
        draw = np.random.default_rng([data.seed, source.seed, number])
        drawn = round(part * len(own)) if whole else max(1, round(part * len(own)))
        extra = np.sort(draw.permutation(own)[:drawn])
        parts += [np.tile(own, int(whole)), extra]
        reports.append(measured(count, rows, own, len(own) * int(whole) + len(extra)))
    return np.concatenate(parts), tuple(reports)
