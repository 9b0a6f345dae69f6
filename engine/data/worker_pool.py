"""Chunks of rows through one or several processes, in order, with a bounded number under way."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from engine.data.image_tokenizer import ImageTokenizer
from engine.data.rendering import Template
from engine.data.row_index import RowIndex
from engine.data.row_pipeline import DroppedRow, KeptRow, RowPipeline, Settings
from engine.data.tokens import Encoder

CHUNK_ROWS = 500
_WORTH_ROWS = 20_000
"""With fewer rows the processes would take longer to start than the work."""
_IN_FLIGHT = 3
Task = tuple[int, Settings, RowIndex, list[int]]
"""A number to know it by, how rows are read, and which rows of which shelf."""

_mill: RowPipeline | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What an encoder needs of a tokenizer; the whole of it takes three times as long to send."""

    backend_tokenizer: Any
    special_tokens_map: dict[str, Any]


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Grinds chunks, here or in `processes` others; 0 chooses by the number of rows."""

    def __init__(
        self,
        tokenizer: Any,
        template: Template,
        rows: int,
        processes: int = 0,
        sight: ImageTokenizer | None = None,
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        self.processes = processes or (cores if rows >= _WORTH_ROWS else 1)
        self._mill = RowPipeline(Encoder(tokenizer, template, sight), template)
        self._stack = ExitStack()
        self._pool: ProcessPoolExecutor | None = None
        if self.processes > 1:
            plain = dict(tokenizer.special_tokens_map)
            vocabulary = Vocabulary(tokenizer.backend_tokenizer, plain)
            self._pool = ProcessPoolExecutor(
                self.processes, get_context("spawn"), _start, (vocabulary, template, sight)
            )
            self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def ground(self, work: Iterable[Task]) -> Iterator[tuple[int, list[KeptRow | DroppedRow]]]:
        """What becomes of the rows of each task, under the task's number, in order."""
        if self._pool is None:
            for number, chosen, shelf, rows in work:
                yield number, self._mill.ground(chosen, shelf.read(rows))
            return
        waiting: deque[tuple[int, Future[list[KeptRow | DroppedRow]]]] = deque()
        for number, chosen, shelf, rows in work:
            waiting.append((number, self._pool.submit(_grind, chosen, list(shelf.read(rows)))))
            if len(waiting) >= self.processes * _IN_FLIGHT:
                first, done = waiting.popleft()
                yield first, done.result()
        for number, done in waiting:
            yield number, done.result()


def _start(vocabulary: Vocabulary, template: Template, sight: ImageTokenizer | None) -> None:
    global _mill
    # The processes are the parallelism; threads of the tokenizer in each would fight over cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _mill = RowPipeline(Encoder(vocabulary, template, sight), template)


def _grind(chosen: Settings, rows: list[tuple[int, bytes | None]]) -> list[KeptRow | DroppedRow]:
    assert _mill is not None
    return _mill.ground(chosen, rows)
