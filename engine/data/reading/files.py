"""Files of any kind as rows that can be read by number: in place, or from lines written once."""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow

from engine import guarded
from engine.atomic import write_lines
from engine.data.code_version import code_version
from engine.data.reading import arrow_rows, json_rows, sheet_rows, table_rows
from engine.data.reading.progress import Progress, require_bounded
from engine.data.reading.row_index import MAX_ROW_BYTES, RowIndex, index_rows
from engine.data.reading.text_encoding import require_utf8
from engine.guarded import Json
from engine.problems import Refusal
from engine.recipe.data_files import COMPRESSED, LINES, ending
from engine.run import disk

_ENCODER = json.JSONEncoder(default=str)
_BLOCK_CHARACTERS = 1 << 20
_BLOCK_BYTES = 1 << 20
_MAX_UNPACKED_BYTES = 2 << 30
"""Of a Parquet file that is compressed once more, which has to be in memory whole."""
_DAMAGED = (OSError, EOFError, zlib.error, csv.Error, pyarrow.ArrowException, ValueError)


def digest(path: Path, progress: Progress) -> str:
    """SHA-256 of a file's contents. Raises `Refusal` where it can't be read."""
    contents = hashlib.sha256()
    try:
        with guarded.opened(path) as file:
            while block := file.read(_BLOCK_BYTES):
                contents.update(block)
                progress.bytes_at(str(path), file.tell())
            return contents.hexdigest()
    except (OSError, guarded.Unreadable) as error:
        raise Refusal.of(str(path), guarded.reason(error), "Mend the path") from None


def opened(
    path: Path, contents: str, cache: Path, progress: Progress, images: Path | None = None
) -> RowIndex:
    """The rows of a file whose contents have the digest `contents`.

    Images that it holds as bytes become files in `images`. Raises `Refusal`, and `OSError` where
    the cache's disk is full.
    """
    kind = ending(path)
    # The reading depends on the ending, so files of the same bytes may differ in rows.
    spool = spool_path(cache, f"{contents[:32]}{kind}")
    try:
        if kind in (*LINES, ".json"):
            plain = path
            if path.suffix in COMPRESSED:
                plain = cache / "lines" / f"{contents[:32]}-unpacked{kind}"
                _unpack(path, plain, progress)
            with guarded.opened(plain) as lines:
                require_utf8(path, lines)
            return json_rows.index_json(path, plain, spool, progress)
        if not spool.exists():
            rows = map(as_line, _records(path, kind, images))
            write_lines(spool, bounded(rows, str(path), progress))
    except _DAMAGED as error:
        if isinstance(error, OSError) and disk.full_error(error):
            raise
        fix = "Make the file anew, or leave it out"
        raise Refusal.of(str(path), f"it can't be read ({error})", fix) from None
    return index_rows(str(path), spool, progress)


def spool_path(cache: Path, name: str) -> Path:
    """Where rows lie as JSON Lines that were read, by this code, from what `name` stands for."""
    return cache / "lines" / f"{name}-{code_version()[:16]}.jsonl"


def bounded(pieces: Iterable[str], origin: str, progress: Progress) -> Iterator[str]:
    """The pieces of some lines, of which a line that is too long for a row is cut just behind that.

    So that a small file can't unpack into one that is without end. Raises `Refusal` where there are
    too many lines.
    """
    num_rows = num_open = 0
    for text in pieces:
        piece = text
        if num_open > MAX_ROW_BYTES:
            if "\n" not in piece:
                continue
            piece = piece[piece.index("\n") :]
        yield piece
        num_rows += piece.count("\n")
        *_, rest = piece.rpartition("\n")
        num_open = len(rest) if len(rest) < len(piece) else num_open + len(piece)
        require_bounded(origin, num_rows)
        progress.at(origin, num_rows, "read")


def as_line(record: Json) -> str:
    """A record as a line of JSON; what JSON has no words for is written as text."""
    return _ENCODER.encode(record) + "\n"


def _records(path: Path, kind: str, images: Path | None) -> Iterator[dict[str, Any]]:
    if kind == ".xlsx":
        return sheet_rows.records(path)
    if kind in {".parquet", ".arrow"}:
        packed = _whole(path) if path.suffix in COMPRESSED else None
        return arrow_rows.records(path, kind, packed, images)
    return _table(path, kind)


def _table(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    with _bytes(path) as lines:
        require_utf8(path, iter(lambda: lines.readline(MAX_ROW_BYTES), b""))
    with io.TextIOWrapper(_bytes(path), "utf-8-sig", "surrogateescape", newline="") as text:
        yield from table_rows.records(path, kind, text)


def _bytes(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return guarded.opened(path)


def _unpack(path: Path, plain: Path, progress: Progress) -> None:
    """Write the contents of a compressed file of JSON, where they are not there yet."""
    if plain.exists():
        return
    with io.TextIOWrapper(_bytes(path), "utf-8", "surrogateescape", newline="") as text:
        pieces = iter(lambda: text.read(_BLOCK_CHARACTERS), "")
        write_lines(plain, bounded(pieces, str(path), progress))


def _whole(path: Path) -> Any:
    content = _bytes(path).read(_MAX_UNPACKED_BYTES + 1)
    if len(content) > _MAX_UNPACKED_BYTES:
        reason = f"it unpacks into more than {_MAX_UNPACKED_BYTES >> 30} GiB"
        raise Refusal.of(str(path), reason, "Unpack it, and give the Parquet file")
    return content
