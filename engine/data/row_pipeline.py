"""A handful of rows from bytes to tokens, in this process or in one of several."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data.checks import check
from engine.data.conversation import Conversation, UnusableRow, thinking
from engine.data.formats.registry import conversation, renamed
from engine.data.rendering import Template
from engine.data.tokens import IGNORED, Encoder, Tokens, labels
from engine.data.truncation import truncated
from engine.gemma.shapes import Dialect
from engine.recipe.schema import Data, Filter, Source

NO_LOSS = "no token with loss within max_length"
TOO_LONG = "a row of more than 16 MiB"
UNSEEN = "images, which the model can't see"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a row's tokens depend on, apart from tokenizer and template."""

    format: str
    columns: dict[str, str]
    filter: Filter
    folder: str
    loss_on: str
    max_length: int
    truncation: str
    thinking: str


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row that can be trained on."""

    number: int
    tokens: Tokens
    length: int
    """Tokens before truncation."""
    notes: tuple[str, ...]
    prompt_hash: int
    hash: int
    turns: Conversation
    fact: str | None

    @property
    def images(self) -> list[str]:
        """Files that the row names."""
        return _images(self.turns)


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that can't be trained on, and why."""

    number: int
    reason: str
    images: list[str] = field(default_factory=list)
    """Files that the row names."""


def settings(data: Data, source: Source, format_name: str, folder: str) -> Settings:
    """The settings of one source."""
    return Settings(
        format_name, source.columns, source.filter, folder,
        data.loss_on, data.max_length, data.truncation, data.thinking,
    )  # fmt: skip


def parsed(raw: bytes | None) -> dict[str, Any]:
    """A row's record. Raises `UnusableRow` with the reason."""
    if raw is None:
        raise UnusableRow(TOO_LONG)
    try:
        record = json.loads(raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except UnicodeDecodeError:
        raise UnusableRow("bytes that are not UTF-8") from None
    except (ValueError, RecursionError):
        raise UnusableRow("not valid JSON") from None
    if not isinstance(record, dict):
        raise UnusableRow("a row that is no object with named columns")
    return record


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

    def ground(
        self, chosen: Settings, rows: Iterable[tuple[int, bytes | None]]
    ) -> list[KeptRow | DroppedRow]:
        """What becomes of each row, in order; lines of blanks are no rows."""
        read = [
            self._read(chosen, number, raw)
            for number, raw in rows
            if raw is None or raw.strip(b" \t\r\n\xef\xbb\xbf")
        ]
        encoded = iter(self.encoder.encode([row.turns for row in read if isinstance(row, KeptRow)]))
        return [
            row if isinstance(row, DroppedRow) else self._cut(chosen, row, *next(encoded))
            for row in read
        ]

    def _read(self, chosen: Settings, number: int, raw: bytes | None) -> KeptRow | DroppedRow:
        turns: Conversation = ()
        try:
            record = parsed(raw)
            turns = conversation(renamed(record, chosen.columns), chosen.format, chosen.folder)
            dialect = self.template.dialect
            turns = thinking(turns, chosen.thinking, has_channel=dialect != Dialect.GEMMA3)
            notes = check(turns, dialect)
            self._look(turns)
        except UnusableRow as reason:
            return DroppedRow(number, str(reason), _images(turns))
        except RecursionError:
            return DroppedRow(number, "values nested too deeply")
        fact = record.get("fact")
        fact = fact if isinstance(fact, str) else None
        prompt, whole = _hash(turns[:-1]), _hash(turns)
        return KeptRow(number, _NOTHING, 0, notes, prompt, whole, turns, fact)

    def _look(self, turns: Conversation) -> None:
        if _images(turns):
            if self.encoder.sight is None:
                raise UnusableRow(UNSEEN)
            self.encoder.sight.check(turns)

    def _cut(
        self, chosen: Settings, row: KeptRow, ids: list[int], mask: Sequence[int]
    ) -> KeptRow | DroppedRow:
        try:
            _check_length(chosen.filter, len(ids))
            start = self.encoder.turn_start
            loss_on = "all" if row.turns[0].role == "text" else chosen.loss_on
            carried, sight = labels(ids, mask, start, loss_on), self.encoder.sight
            if sight and row.images:
                carried = [
                    IGNORED if token in sight.frame else label
                    for token, label in zip(ids, carried, strict=True)
                ]
            whole = Tokens(ids, carried, False, tuple(row.images))
            seen = sight.image_token if sight else None
            tokens = truncated(whole, chosen.max_length, chosen.truncation, start, seen)
            if not tokens.supervised:
                raise UnusableRow(NO_LOSS)
        except UnusableRow as reason:
            return DroppedRow(row.number, str(reason), row.images)
        return replace(row, tokens=tokens, length=len(ids))


_NOTHING = Tokens([], [], False)


def _images(turns: Conversation) -> list[str]:
    return [image for turn in turns for image in turn.images]


def _check_length(wanted: Filter, length: int) -> None:
    if length < wanted.min_tokens:
        raise UnusableRow("shorter than filter.min_tokens")
    if wanted.max_tokens and length > wanted.max_tokens:
        raise UnusableRow("longer than filter.max_tokens")


def _hash(turns: Conversation) -> int:
    digest = hashlib.blake2b(repr(turns).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)
