"""A recipe's source as indexed files of rows, its format, and the rows that are drawn from it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engine.data.cache_folder import CacheFolder
from engine.data.formats import advice
from engine.data.formats.form import Record
from engine.data.formats.meaning import is_empty
from engine.data.formats.registry import DETECTED_FROM, FORMATS, PREFERENCE, detect, renamed
from engine.data.reading import files, hub, message_trees
from engine.data.reading.json_text import unpacked
from engine.data.reading.progress import Progress
from engine.data.reading.row_index import RowIndex
from engine.data.row_pipeline import CHUNK_ROWS, readable
from engine.problems import Refusal
from engine.recipe import data_files
from engine.recipe.schema import Source


@dataclass(frozen=True, slots=True)
class Opened:
    """A source whose rows can be read by number."""

    source: Source
    indexes: list[RowIndex]
    contents: tuple[str, ...]
    """Digest of each file."""
    format: str
    images: Path | None
    """Where images are put that rows hold as bytes."""
    left_out: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """Files of the source that aren't read, by reason."""

    def __len__(self) -> int:
        return sum(len(index) for index in self.indexes)

    @property
    def quota(self) -> int:
        """Rows the recipe asks for."""
        rows = self.source.rows
        if rows is None:
            return len(self)
        return rows if isinstance(rows, int) else max(1, round(rows * len(self)))

    def drawn(self, seed: int) -> Iterator[tuple[int, list[int]]]:
        """Chunks of rows as (file, rows of it): in order, or shuffled where a number is asked."""
        if self.source.rows is None:
            for number, index in enumerate(self.indexes):
                for start in range(0, len(index), CHUNK_ROWS):
                    yield number, list(range(start, min(start + CHUNK_ROWS, len(index))))
            return
        firsts = np.cumsum([0, *(len(index) for index in self.indexes)])
        order = np.random.default_rng([seed, self.source.seed]).permutation(len(self))
        for start in range(0, len(order), CHUNK_ROWS):
            part = order[start : start + CHUNK_ROWS]
            owners = np.searchsorted(firsts, part, "right") - 1
            for number in np.unique(owners):
                yield int(number), (part[owners == number] - firsts[number]).tolist()


def opened(source: Source, cache: CacheFolder, progress: Progress) -> Opened:
    """Open a source and tell its format. Raises `Refusal`."""
    left_out: dict[str, tuple[Path, ...]] = {}
    if source.id:
        index, contents = hub.opened(source, cache, progress)
        indexes, digests = [index], [contents]
    else:
        named = data_files.source_files(str(source.path), source.split)
        if named.reason:
            raise Refusal.of(str(source.path), named.reason, named.fix)
        left_out = named.left_out
        digests = [files.digest(path, progress) for path in named.read]
        indexes = [
            files.opened(path, digest, cache.path, progress, cache.images)
            for path, digest in zip(named.read, digests, strict=True)
        ]
    if not any(len(index) for index in indexes):
        fix = "Give a file with at least one row"
        raise Refusal.of(str(source.path or source.id), "it holds no rows", fix)
    if source.format in (None, "reply_tree"):
        heads = [record for _, record in _heads(source, indexes)][:DETECTED_FROM]
        if message_trees.are_messages(heads):
            indexes = message_trees.joined(indexes, source.columns, digests, cache.path, progress)
            source = source.model_copy(update={"columns": {}, "format": "reply_tree"})
    format_name = source.format or _detected(source, indexes)
    return Opened(source, indexes, tuple(digests), format_name, cache.images, left_out)


def _heads(source: Source, indexes: list[RowIndex]) -> list[tuple[str, Record]]:
    """The first rows of each file that can be read, each with its place."""
    return [
        (f"{index.origin}:{number}", unpacked(renamed(record, source.columns)))
        for index in indexes
        for number, record in readable(index.read(list(range(min(len(index), DETECTED_FROM)))))
    ]


def _detected(source: Source, indexes: list[RowIndex]) -> str:
    records = _heads(source, indexes)
    if not records:
        # No row can be read, and each says why when it is dropped.
        return "text"
    where, first = records[0]
    name = detect([record for _, record in records[:DETECTED_FROM]])
    if name == PREFERENCE:
        raise advice.of_preference(records[:DETECTED_FROM])
    if name is None:
        raise advice.of_unknown(where, first, [*FORMATS])
    if name == "text" and "role" in first:
        raise advice.of_single_messages(where)
    if name == "text" and not is_empty(first.get("label")):
        raise advice.of_labelled_text(where)
    return name
