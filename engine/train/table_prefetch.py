"""A batch's rows of a host table, fetched in a thread while earlier steps are at work."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakSet, ref

import torch

from engine.model.host_embeddings import HostTable

FETCHED = "per_layer_rows"
"""What a batch calls its rows."""
_AHEAD = 2
"""Batches whose rows are held at a time; an accumulation may have many more."""

Batch = dict[str, Any]


class PrefetchedRows:
    """Rows of one batch: under way, there, or still waiting for those of earlier batches."""

    def __init__(self, ids: torch.Tensor, fetcher: "TablePrefetcher") -> None:
        self.ids = ids
        self._fetcher = fetcher
        self.is_waiting = True
        self._rows: Future[torch.Tensor] | None = None

    def start(self) -> None:
        """Look them up beside what is going on."""
        self.is_waiting = False
        self._rows = self._fetcher.look_up(self.ids)

    def announce(self) -> None:
        """Tell the table that its next tokens are these."""
        self._fetcher.table.expect(self.ids, self._take)

    def _take(self) -> torch.Tensor:
        if self.is_waiting:
            self.start()
        assert self._rows is not None, "rows are taken once"
        rows, self._rows = self._rows.result(), None
        self._fetcher.taken(self)
        return rows


class TablePrefetcher:
    """A collator on top of another: batches come with their rows, in the order they are used."""

    def __init__(self, collator: Any, table: HostTable) -> None:
        self.pad_token_id: int = collator.pad_token_id
        self.table = table
        self._collator: Callable[[Any], Batch] = collator
        self._thread = ThreadPoolExecutor(1, "rows")
        # A batch that is never used, as where a run goes on behind it, must not hold up the others.
        self._started: WeakSet[PrefetchedRows] = WeakSet()
        self._waiting: deque[ref[PrefetchedRows]] = deque()

    def __call__(self, sequences: Any) -> Batch:
        """A batch whose rows are under way, or will be."""
        batch = self._collator(sequences)
        fetched = PrefetchedRows(batch["input_ids"], self)
        self._waiting.append(ref(fetched))
        self._start_next()
        return {**batch, FETCHED: fetched}

    def look_up(self, ids: torch.Tensor) -> Future[torch.Tensor]:
        """The rows of tokens, some time."""
        return self._thread.submit(self.table.rows, ids)

    def taken(self, fetched: PrefetchedRows) -> None:
        """There is room for those of another batch."""
        self._started.discard(fetched)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and len(self._started) < _AHEAD:
            waiting = self._waiting.popleft()()
            if waiting is not None and waiting.is_waiting:
                waiting.start()
                self._started.add(waiting)
