"""Chunks of rows from bytes to tokens, in this process or in several, in order."""

import gc
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from engine.data.checks import check
from engine.data.conversation import (
    Conversation,
    UnusableRow,
    answers_apart,
    thinking,
    written,
)
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.encoding.tokens import IGNORED, Encoded, Encoder, Tokens, labels
from engine.data.encoding.truncation import truncated
from engine.data.encoding.words import WordEncoder, word_encoder
from engine.data.formats.registry import read, renamed
from engine.data.images import image_bytes
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.reading.json_text import unpacked
from engine.data.reading.row_index import UNREADABLE, RowIndex
from engine.gemma.shapes import Dialect
from engine.recipe import split_names
from engine.recipe.schema import Data, Filter, Source

NOTED_THOUGHT = "an earlier answer without loss, since the template leaves its thought out"
NOTED_WEIGHT = "an answer whose weight is neither 0 nor 1, by which its loss is multiplied"
NO_LOSS = "no token with loss within max_length"
WEIGHTLESS = "a row that weighs 0, so that none of it carries loss"
TOO_LONG = "a row of more than 16 MiB"
UNSEEN = "images, which the model can't see"
CHUNK_ROWS = 500
_DECODER = msgspec.json.Decoder()
_WORTH_ROWS = 20_000
"""With fewer rows the processes would take longer to start than the work."""
_IN_FLIGHT = 3
_TOKENS_A_ROW = 128
"""Of the vocabulary; with fewer rows, a look at all of it takes longer than it saves."""


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What a row's tokens depend on, apart from tokenizer and template."""

    format: str
    is_format_asked: bool
    columns: dict[str, str]
    filter: Filter
    folder: str
    images: Path | None
    """Where images are put that rows hold as bytes."""
    loss_on: str
    max_length: int
    truncation: str
    thinking: str
    splits: frozenset[str]
    """Splits whose rows are taken, where a column names one; none where all are."""


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row that can be trained on."""

    number: int
    tokens: Tokens
    length: int
    """Tokens before truncation."""
    supervised: int
    """Tokens that carry loss."""
    notes: tuple[str, ...]
    unread: tuple[str, ...]
    """Columns that say something and were not read."""
    prompt_hash: int | None
    """Of all turns but the last; a bare text has none."""
    hash: int
    group: int
    """A hash of what the row begins with: of its first turn that is not the system's."""
    turns: bytes
    """The conversation, as `written` has it."""
    images: list[str]
    """Files that the row names."""
    fact: str | None


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that can't be trained on, and why."""

    number: int
    reason: str
    images: list[str] = field(default_factory=list)
    """Files that the row names."""


@dataclass(frozen=True, slots=True)
class _Talk:
    """A row as a conversation that passes all checks of its text."""

    number: int
    turns: Conversation
    images: list[str]
    notes: tuple[str, ...]
    unread: tuple[str, ...]
    fact: str | None


def row_settings(
    data: Data, source: Source, format_name: str, file: Path, images: Path | None
) -> RowSettings:
    """The settings of one file of a source; of the hub's rows the hub chose those of a split."""
    splits = frozenset[str]() if source.id else split_names.asked_of(source.split, file.name)
    return RowSettings(
        format_name, source.format is not None, source.columns, source.filter, str(file.parent),
        images, data.loss_on, data.max_length, data.truncation, data.thinking, splits,
    )  # fmt: skip


def parsed(raw: bytes | None) -> dict[str, Any]:
    """A row's record. Raises `UnusableRow` with the reason."""
    if raw is None:
        raise UnusableRow(TOO_LONG)
    try:
        record = _decoded(raw.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise UnusableRow("not valid JSON") from None
    if not isinstance(record, dict):
        raise UnusableRow("a row that is no object with named columns")
    if UNREADABLE in record:
        raise UnusableRow(str(record[UNREADABLE]))
    return record


def _decoded(raw: bytes) -> Any:
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # NaN, lone surrogates and what is damaged: slower, and with its own reasons.
        return json.loads(raw.decode("utf-8"))


def readable(rows: Iterable[tuple[int, bytes | None]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and record of the rows that can be read at all."""
    for number, raw in rows:
        try:
            yield number, parsed(raw)
        except UnusableRow:
            continue


@dataclass(slots=True)
class RowPipeline:
    """Turns rows into tokens; made once per process."""

    encoder: Encoder
    template: Template

    def process(
        self, settings: RowSettings, rows: Iterable[tuple[int, bytes | None]]
    ) -> list[KeptRow | DroppedRow]:
        """What becomes of each row, in order; lines of blanks are no rows."""
        with _no_collections():
            return self._processed(settings, rows)

    def _processed(
        self, settings: RowSettings, rows: Iterable[tuple[int, bytes | None]]
    ) -> list[KeptRow | DroppedRow]:
        read = [
            row
            for number, raw in rows
            if raw is None or raw.endswith(b"}") or raw.strip(b" \t\r\n\xef\xbb\xbf")
            for row in self._read(settings, number, raw)
        ]
        encoded = iter(self.encoder.encode([row.turns for row in read if isinstance(row, _Talk)]))
        return [
            self._finished(settings, row, next(encoded)) if isinstance(row, _Talk) else row
            for row in read
        ]

    def _read(
        self, settings: RowSettings, number: int, raw: bytes | None
    ) -> list[_Talk] | list[DroppedRow]:
        """A row's conversation; one for each of its answers where thoughts are to be kept so."""
        turns: Conversation = ()
        try:
            record = parsed(raw)
            if "split" in record:
                _check_split(record["split"], settings.splits)
            columns = unpacked(renamed(record, settings.columns))
            if raw and image_bytes.may_be_in(raw):
                columns = image_bytes.with_files(columns, settings.images)
            is_asked = settings.is_format_asked
            row = read(columns, settings.format, settings.folder, is_asked=is_asked)
            dialect = self.template.dialect
            turns = thinking(row.turns, settings.thinking, has_channel=dialect != Dialect.GEMMA3)
            notes = (*row.notes, *check(turns, dialect))
            images = _images(turns)
            if images:
                self._look(turns)
        except UnusableRow as reason:
            return [DroppedRow(number, str(reason), _images(turns))]
        except RecursionError:
            return [DroppedRow(number, "values nested too deeply")]
        fact = record.get("fact")
        fact = fact if isinstance(fact, str) else None
        parts = answers_apart(turns) if settings.thinking == "each" else [turns]
        return [_Talk(number, part, _images(part), notes, row.unread, fact) for part in parts]

    def _look(self, turns: Conversation) -> None:
        if self.encoder.sight is None:
            raise UnusableRow(UNSEEN)
        self.encoder.sight.check(turns)

    def _finished(
        self, settings: RowSettings, talk: _Talk, encoded: Encoded
    ) -> KeptRow | DroppedRow:
        try:
            tokens = self._tokens(settings, talk, encoded)
            supervised = tokens.supervised
            if not supervised:
                raise UnusableRow(NO_LOSS if any(_carry_loss(talk.turns)) else WEIGHTLESS)
        except UnusableRow as reason:
            return DroppedRow(talk.number, str(reason), talk.images)
        turns, notes = [written(turn) for turn in talk.turns], talk.notes
        if encoded.lost_thoughts:
            notes = (*notes, NOTED_THOUGHT)
        if tokens.weights:
            notes = (*notes, NOTED_WEIGHT)
        return KeptRow(
            number=talk.number,
            tokens=tokens,
            length=len(encoded.ids),
            supervised=supervised,
            notes=notes,
            unread=talk.unread,
            prompt_hash=_hash(b",".join(turns[:-1])) if turns[1:] else None,
            hash=_hash(b",".join(turns)),
            group=_group(talk.turns, turns),
            turns=b"[%b]" % b",".join(turns),
            images=talk.images,
            fact=talk.fact,
        )

    def _tokens(self, settings: RowSettings, talk: _Talk, encoded: Encoded) -> Tokens:
        """What is trained on of a conversation. Raises `UnusableRow` for its length."""
        ids, start, sight = encoded.ids, self.encoder.turn_start, self.encoder.sight
        _check_length(settings.filter, len(ids))
        loss_on = "all" if talk.turns[0].role == "text" else settings.loss_on
        carried = labels(ids, encoded.mask, start, loss_on)
        if sight and talk.images:
            carried = [
                IGNORED if token in sight.frame else label
                for token, label in zip(ids, carried, strict=True)
            ]
        whole = Tokens(ids, carried, False, tuple(talk.images), encoded.weights)
        image_token = sight.image_token if sight else None
        return truncated(whole, settings.max_length, settings.truncation, start, image_token)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep Python from looking for cycles among all that a tokenizer and its libraries hold.

    That takes a tenth of a second, comes every thousand rows, and finds nothing of them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _images(turns: Conversation) -> list[str]:
    return [image for turn in turns for image in turn.images]


def _carry_loss(turns: Conversation) -> Iterator[bool]:
    return (turn.weight > 0 for turn in turns if turn.role in ("assistant", "text"))


def _check_split(name: Any, splits: frozenset[str]) -> None:
    """Raises `UnusableRow` for a row of a split that is not among these."""
    split = split_names.SPLIT_OF_WORD.get(name.strip().lower()) if isinstance(name, str) else None
    if splits and split and split not in splits:
        raise UnusableRow(split_names.OF_SPLIT.format(split))


def _check_length(bounds: Filter, length: int) -> None:
    if length < bounds.min_tokens:
        raise UnusableRow("shorter than filter.min_tokens")
    if bounds.max_tokens and length > bounds.max_tokens:
        raise UnusableRow("longer than filter.max_tokens")


def _group(turns: Conversation, written_turns: list[bytes]) -> int:
    spoken = zip(turns, written_turns, strict=True)
    return _hash(next((content for turn, content in spoken if turn.role != "system"), b""))


def _hash(content: bytes) -> int:
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


Task = tuple[int, RowSettings, RowIndex, list[int]]
"""A number to know it by, how rows are read, and which rows of which file."""

_pipeline: RowPipeline | None = None
"""That of a worker process."""


@dataclass(frozen=True, slots=True)
class SentVocabulary:
    """What an encoder needs of a tokenizer; the whole of it takes three times as long to send."""

    backend_tokenizer: Any
    special_tokens_map: dict[str, Any]


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """Processes chunks, here or in `processes` others; 0 chooses by the number of rows."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Template,
        rows: int,
        processes: int = 0,
        sight: ImageTokenizer | None = None,
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        self.processes = processes or (cores if rows >= _WORTH_ROWS else 1)
        size = tokenizer.backend_tokenizer.get_vocab_size()
        words = word_encoder(tokenizer) if rows * _TOKENS_A_ROW >= size else None
        self._pipeline = RowPipeline(Encoder(tokenizer, template, sight, words), template)
        self._stack = ExitStack()
        self._pool: ProcessPoolExecutor | None = None
        if self.processes > 1:
            plain = dict(tokenizer.special_tokens_map)
            vocabulary = SentVocabulary(tokenizer.backend_tokenizer, plain)
            self._pool = ProcessPoolExecutor(
                self.processes, get_context("spawn"), _start, (vocabulary, template, sight, words)
            )
            self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def process(self, work: Iterable[Task]) -> Iterator[tuple[int, list[KeptRow | DroppedRow]]]:
        """What becomes of the rows of each task, under the task's number, in order."""
        if self._pool is None:
            for number, settings, index, rows in work:
                yield number, self._pipeline.process(settings, index.read(rows))
            return
        waiting: deque[tuple[int, Future[list[KeptRow | DroppedRow]]]] = deque()
        for number, settings, index, rows in work:
            waiting.append((number, self._pool.submit(_process, settings, list(index.read(rows)))))
            if len(waiting) >= self.processes * _IN_FLIGHT:
                first, done = waiting.popleft()
                yield first, done.result()
        for number, done in waiting:
            yield number, done.result()


def _start(
    vocabulary: SentVocabulary,
    template: Template,
    sight: ImageTokenizer | None,
    words: WordEncoder | None,
) -> None:
    global _pipeline
    # The processes are the parallelism; threads of the tokenizer in each would fight over cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _pipeline = RowPipeline(Encoder(vocabulary, template, sight, words), template)


def _process(
    settings: RowSettings, rows: list[tuple[int, bytes | None]]
) -> list[KeptRow | DroppedRow]:
    assert _pipeline is not None
    return _pipeline.process(settings, rows)
