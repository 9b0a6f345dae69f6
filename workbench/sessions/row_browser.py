"""A place among the rows of a preview, and the rows around it that are at hand."""

from itertools import accumulate

from engine.sessions.preview import Answer, Row
from engine.sessions.source_report import SourceReport

_TOKENS_AT_HAND = 200_000
_UNKNOWN_TOKENS = 10_000
_FEWEST, _MOST = 8, 60


class RowBrowser:
    """Rows are counted through all sources, one after the other, as the engine counts them."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self._request: tuple[int, int] | None = None
        self._first = 0
        self._at_source = 0
        self._places = [0]

    def take(self, answer: Answer) -> None:
        """The answer to what was wanted last; rows that were at hand before are let go."""
        self.answer, self._first = answer, self._request[0] if self._request else 0
        counts = [num_rows(source) for source in answer.sources]
        places = self._places + [0] * (len(counts) - len(self._places))
        self._places = [min(at, max(0, n - 1)) for at, n in zip(places, counts, strict=False)]
        self._at_source = min(self._at_source, max(0, len(counts) - 1))

    @property
    def sources(self) -> tuple[SourceReport, ...]:
        """What became of each source; none before the first answer."""
        return self.answer.sources if self.answer else ()

    @property
    def at_source(self) -> int:
        """Index of the source."""
        return self._at_source

    @property
    def source(self) -> SourceReport | None:
        """The source; None before the first answer."""
        return self.sources[self._at_source] if self.sources else None

    @property
    def place(self) -> int:
        """Index of the row in its source."""
        return self._places[self._at_source]

    @property
    def row(self) -> Row | None:
        """The row, where it is at hand."""
        if self.answer is None or self.source is None or not num_rows(self.source):
            return None
        index = self._at() - self._first
        return self.answer.rows[index] if 0 <= index < len(self.answer.rows) else None

    def move(self, by: int) -> None:
        """Another row of the source."""
        if self.source is not None:
            last = max(0, num_rows(self.source) - 1)
            self._places[self._at_source] = max(0, min(last, self.place + by))

    def turn(self, by: int) -> None:
        """Another source; after the last comes the first. Each keeps its place."""
        if self.sources:
            self._at_source = (self._at_source + by) % len(self.sources)

    def next_request(self) -> tuple[int, int] | None:
        """First and number of the rows to ask for; None where those around are on their way."""
        at, size = self._at(), self._size()
        begin, end = max(0, at - size // 4), min(self._ends()[-1], at + size // 4 + 1)
        if self._request is not None:
            first, rows = self._request
            if first <= begin and end <= first + rows:
                return None
        self._request = max(0, at - size // 2), size
        return self._request

    def _size(self) -> int:
        """How many rows to have at hand: fewer where they are long."""
        longest = max((source.tokens.p95 for source in self.sources), default=_UNKNOWN_TOKENS)
        return max(_FEWEST, min(_MOST, _TOKENS_AT_HAND // max(1, longest)))

    def _ends(self) -> list[int]:
        return list(accumulate((num_rows(source) for source in self.sources), initial=0))

    def _at(self) -> int:
        return self._ends()[self._at_source] + self.place


def num_rows(source: SourceReport) -> int:
    """How many of its rows an epoch has; a small weight leaves some out."""
    return min(source.num_taken, source.seen_per_epoch)
