"""From the recipe's sources to the rows that are trained on, with an account of every row."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import msgspec
import numpy as np

from engine import atomic
from engine.data import heldout, mixing
from engine.data.arrow_store import Rows
from engine.data.cache_folder import CacheFolder, cache_folder, temporary_folder
from engine.data.code_version import code_version
from engine.data.conversation import Conversation, UnusableRow
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.formats import advice
from engine.data.formats.registry import conversation
from engine.data.images import image_stamps
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.reading.json_text import unpacked
from engine.data.reading.progress import Progress
from engine.data.reading.sources import Opened, opened
from engine.data.row_counts import RowCounts, refusal_of_drops
from engine.data.row_pipeline import WorkerPool, readable
from engine.problems import Refusal
from engine.recipe.schema import Data, Source
from engine.recipe.split_names import ALL
from engine.run import disk
from engine.sessions.source_report import HeldoutReport, SourceReport

_LISTED_FILES = 100
"""A folder may hold pictures by the ten thousand beside its rows."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row that can be trained on; `fact` is the exact answer where the row names one."""

    where: str
    turns: Conversation
    fact: str | None


@dataclass(frozen=True, slots=True)
class Examples(Sequence[Example]):
    """The conversations behind prepared rows, each read when it is asked for."""

    rows: Rows
    origins: tuple[tuple[str, ...], ...]
    """Files of each source."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """One row as the conversation it was."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        cell = self.rows.cell
        origin = self.origins[cell(index, "source")][cell(index, "file")]
        where = f"{origin}:{cell(index, 'number')}"
        return Example(where, self.rows.turns(index), cell(index, "fact"))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is trained on, and what was left out."""

    rows: Rows
    examples: Examples
    """The example behind each of `rows`."""
    sources: tuple[SourceReport, ...]
    fingerprint: str
    """SHA-256 over all ids, labels and images in order, shortened to 16 hexadecimal digits."""
    heldout: Examples | None = None
    """Rows that are kept for judging, each once; none of them is among `rows`."""
    heldout_report: HeldoutReport | None = None
    why_not_cached: str = ""
    """What is wrong with the cache, where rows could not be kept there."""

    @property
    def tokens(self) -> int:
        """Tokens of one pass over the rows."""
        return int(self.rows.sizes().sum())

    @property
    def supervised_tokens(self) -> int:
        """Tokens of one pass that carry loss."""
        return int(self.rows.column("supervised").sum())

    @property
    def truncated_rows(self) -> int:
        """Rows that were cut."""
        return int(self.rows.column("is_truncated").sum())

    @property
    def dropped(self) -> Counter[str]:
        """Rows left out of all sources, by reason."""
        return sum((Counter(source.dropped) for source in self.sources), Counter())


def prepare(
    data: Data,
    tokenizer: Tokenizer,
    template: Template,
    cache: Path | None = None,
    processes: int = 0,
    sight: ImageTokenizer | None = None,
    tell: Callable[[str], None] | None = None,
) -> Prepared:
    """Read, convert, tokenise and mask all sources; training and preview both call this.

    With a `cache` folder, rows that were prepared before by the same settings are found there; one
    that can't be used stops nothing. Rows with images are kept where the model has `sight`. What
    takes long is told now and again.
    Raises `Refusal` where a source can't be read, where no row is left to train on, and in strict
    data where any is dropped.
    """
    progress = Progress(tell)
    with cache_folder(cache) as folder:
        try:
            return _prepared(data, tokenizer, template, folder, processes, sight, progress)
        except OSError as error:
            full = None if folder.is_temporary else disk.full_error(error)
            if full is None:
                raise
            why = f"{folder.path}: {disk.cause(full, folder.path)}"
    with temporary_folder(why) as folder:
        return _prepared(data, tokenizer, template, folder, processes, sight, progress)


def _prepared(
    data: Data,
    tokenizer: Tokenizer,
    template: Template,
    folder: CacheFolder,
    processes: int,
    sight: ImageTokenizer | None,
    progress: Progress,
) -> Prepared:
    """The rows, by way of a folder; what is mapped from it lasts as long as it is used."""
    sources = [opened(source, folder, progress) for source in data.sources]
    judged = None
    if isinstance(data.heldout, str):
        judged = opened(Source(path=data.heldout, split=ALL), folder, progress)
    files = [*sources, *([judged] if judged else ())]
    key = _key(data, files, tokenizer, template, sight)
    stored = folder.path / "rows" / f"{key}.arrow"
    counted = stored.with_suffix(".json")
    stamps = stored.with_suffix(".images")
    if not (stored.exists() and counted.exists() and image_stamps.is_current(stamps)):
        images: set[str] = set()
        read = sum(min(source.quota, len(source)) for source in sources)
        with WorkerPool(tokenizer, template, read, processes, sight) as pool:
            counts = mixing.write(data, sources, judged, pool, stored, images, progress)
        image_stamps.write(images, stamps, sight)
        atomic.write_lines(counted, [msgspec.json.encode(counts).decode()])
    counts = msgspec.json.decode(counted.read_bytes(), type=list[RowCounts])
    rows = Rows(stored)
    is_held = mixing.held_out(data, rows)
    rows.order, reports = mixing.epoch(data, rows, counts, is_held)
    reports = tuple(map(_with_files, reports, sources))
    _check(data, rows, reports)
    origins = tuple(tuple(index.origin for index in one.indexes) for one in files)
    judged_rows = None
    if data.heldout is not None:
        judged_rows = _heldout_examples(stored, is_held, origins)
    return Prepared(
        rows=rows,
        examples=Examples(rows, origins),
        sources=reports,
        fingerprint=_fingerprint(rows),
        heldout=judged_rows,
        heldout_report=_compared(stored, rows, judged_rows, progress) if judged_rows else None,
        why_not_cached=folder.why_temporary,
    )


def _heldout_examples(
    stored: Path, is_held: np.ndarray, origins: tuple[tuple[str, ...], ...]
) -> Examples:
    rows = Rows(stored)
    rows.order = np.flatnonzero(is_held)
    if not len(rows):
        fix = "Give a file whose rows can be read, as gemma-bench preview shows them"
        raise Refusal.of("data.heldout", "no row of it can be used", fix)
    return Examples(rows, origins)


def _compared(stored: Path, rows: Rows, judged: Examples, progress: Progress) -> HeldoutReport:
    """How like the rows trained on are to those held out, found once for the same rows."""
    file = stored.with_suffix(".heldout.json")
    if not file.exists():
        report = heldout.near_duplicates(rows, judged.rows, judged.origins, progress)
        atomic.write_lines(file, [msgspec.json.encode(report).decode()])
    return msgspec.json.decode(file.read_bytes(), type=HeldoutReport)


def _with_files(report: SourceReport, source: Opened) -> SourceReport:
    return msgspec.structs.replace(
        report,
        files=tuple(index.origin for index in source.indexes),
        left_out={
            reason: tuple(map(str, files[:_LISTED_FILES]))
            for reason, files in source.left_out.items()
        },
    )


def read_examples(path: Path) -> list[Example]:
    """The rows of a file that are conversations. Raises `Refusal` where it can't be read."""
    with temporary_folder("") as folder:
        read = opened(Source(path=str(path)), folder, Progress())
        return list(_examples(read))


def _examples(read: Opened) -> Iterator[Example]:
    for index in read.indexes:
        for number, record in readable(index.read(list(range(len(index))))):
            with suppress(UnusableRow):
                turns, fact = conversation(unpacked(record), read.format), record.get("fact")
                where = f"{index.origin}:{number}"
                yield Example(where, turns, fact if isinstance(fact, str) else None)


def _key(
    data: Data,
    sources: list[Opened],
    tokenizer: Tokenizer,
    template: Template,
    sight: ImageTokenizer | None,
) -> str:
    """What the prepared rows depend on: code, contents, settings, template and tokenizer."""
    plain = data.model_dump(exclude={"packing", "strict"})
    contents = [(one.contents, one.format, [s.origin for s in one.indexes]) for one in sources]
    vocabulary = _digest(tokenizer)
    vision = repr(sight) if sight else ""
    parts = [code_version(), plain, contents, asdict(template), vocabulary, vision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache(maxsize=4)
def _digest(tokenizer: Tokenizer) -> str:
    """Kept, since Gemma's takes most of a second, and a preview prepares again and again."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def _check(data: Data, rows: Rows, reports: Sequence[SourceReport]) -> None:
    if data.strict and any(one.dropped for one in reports):
        fix = "Mend or remove the rows, or leave out data.strict"
        raise refusal_of_drops(reports, "data.strict allows no row to be dropped", fix)
    if not len(rows):
        fix = advice.of_drops({reason for one in reports for reason in one.dropped})
        raise refusal_of_drops(reports, "no row is left to train on", fix)


def _fingerprint(rows: Rows) -> str:
    digest = hashlib.sha256()
    for part in rows.contents():
        digest.update(part)
    return digest.hexdigest()[:16]
