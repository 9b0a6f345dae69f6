"""Rows of a source as they are taken, dropped and noted, and what is reported of them."""

from collections.abc import Iterable

import numpy as np
from msgspec import Struct, structs

from engine.data.arrow_store import Rows
from engine.data.formats.meaning import HARMLESS
from engine.problems import Refusal
from engine.sessions.source_report import SourceReport, TokenLengths

_BINS = 10
_MOST_UNREAD = 64
"""Names of unread columns that are kept; a set may have thousands."""


class RowCounts(Struct):
    """Counts of one source, by reason, with the place of each reason's first row."""

    name: str
    format: str
    quota: int
    num_taken: int = 0
    dropped: dict[str, int] = {}
    first_dropped: dict[str, str] = {}
    noted: dict[str, int] = {}
    first_noted: dict[str, str] = {}
    unread: dict[str, int] = {}
    harmless: dict[str, int] = {}

    def drop(self, reason: str, where: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self.first_dropped.setdefault(reason, where)

    def count_unread(self, columns: Iterable[str]) -> None:
        """Count what a row that stays says beside the columns that are read."""
        for name in columns:
            counts = self.harmless if name in HARMLESS else self.unread
            if name in counts or len(counts) < _MOST_UNREAD:
                counts[name] = counts.get(name, 0) + 1

    def note(self, reason: str, where: str) -> None:
        """Count a row that stays."""
        self.noted[reason] = self.noted.get(reason, 0) + 1
        self.first_noted.setdefault(reason, where)


def measured(counts: RowCounts, rows: Rows, own: np.ndarray, seen_per_epoch: int) -> SourceReport:
    """The report of a source whose rows are `own`, int64 indices into `rows`."""
    report = SourceReport(**structs.asdict(counts), seen_per_epoch=seen_per_epoch)
    if not len(own):
        return report
    lengths = rows.column("length")[own]
    p50, p95 = (int(np.percentile(lengths, share)) for share in (50, 95))
    supervised = float(rows.column("supervised")[own].sum() / rows.sizes()[own].sum())
    return structs.replace(
        report,
        tokens=TokenLengths(p50, p95, int(lengths.max())),
        histogram=histogram(lengths, p95),
        truncated_share=round(float(rows.column("is_truncated")[own].mean()), 4),
        supervised_share=round(supervised, 4),
    )


def histogram(lengths: np.ndarray, p95: int) -> tuple[tuple[int, int], ...]:
    """(most tokens, rows) of up to ten bins of a round width; the last holds all that is longer.

    `lengths` are int32, one for each row.
    """
    widths = (digit * 10**power for power in range(20) for digit in (1, 2, 5))
    width = next(width for width in widths if width * _BINS >= p95)
    bins = np.minimum((lengths - 1) // width, _BINS - 1)
    counts = np.bincount(bins.astype(np.int64)).tolist()
    tops = [width * (number + 1) for number in range(len(counts))]
    if len(counts) == _BINS:
        tops[-1] = max(tops[-1], int(lengths.max()))
    return tuple(zip(tops, counts, strict=True))


def refusal_of_drops(reports: Iterable[SourceReport], reason: str, fix: str) -> Refusal:
    """A refusal that names every reason with its count and first place."""
    reasons = ", ".join(
        f"{count} x {why} (first: {report.first_dropped[why]})"
        for report in reports
        for why, count in report.dropped.items()
    )
    return Refusal.of("data.sources", f"{reason}: {reasons or 'the sources hold no rows'}", fix)
