"""Files of any kind as JSON Lines: read in a stream, written once, found by their contents."""

import csv
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from engine import guarded
from engine.atomic import write_lines
from engine.data.code_version import code_version
from engine.data.progress import Progress, require_bounded
from engine.data.reading.row_index import MAX_ROW_BYTES, RowIndex, index_rows
from engine.problems import Refusal
from engine.recipe.data_files import ending
from engine.run import disk

_BLOCK_CHARACTERS = 1 << 20
_BATCH_ROWS = 1024
_MAX_UNPACKED_BYTES = 2 << 30
"""Of a Parquet file that is compressed once more, which has to be in memory whole."""
_GAP = re.compile(r"[ \t\r\n,]*")
"""What stands between the items of a list."""
_ENCODER = json.JSONEncoder(default=str)


def digest(path: Path) -> str:
    """SHA-256 of a file's contents. Raises `Refusal` where it can't be read."""
    try:
        with guarded.opened(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, guarded.Unreadable) as error:
        raise Refusal.of(str(path), guarded.reason(error), "Mend the path") from None


def opened(path: Path, contents: str, cache: Path, progress: Progress) -> RowIndex:
    """The rows of a file whose contents have the digest `contents`.

    Raises `Refusal`, and `OSError` where the cache's disk is full.
    """
    if path.suffix == ".jsonl":
        return index_rows(str(path), path, progress)
    # The reading depends on the ending, so files of the same bytes may differ in rows.
    spool = spool_path(cache, f"{contents[:32]}{ending(path)}")
    if not spool.exists():
        try:
            write_lines(spool, bounded(_lines(path), str(path), progress))
        except (OSError, EOFError, zlib.error, csv.Error, pyarrow.ArrowException) as error:
            if disk.full_error(error):
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


def as_line(record: Any) -> str:
    """A record as a line of JSON; what JSON has no words for is written as text."""
    return _ENCODER.encode(record) + "\n"


def _lines(path: Path) -> Iterator[str]:
    kind = ending(path)
    if kind == ".parquet":
        yield from _parquet(path)
        return
    encoding = "utf-8-sig" if kind == ".csv" else "utf-8"
    with io.TextIOWrapper(_bytes(path), encoding, "surrogateescape", newline="") as text:
        if kind == ".csv":
            yield from _table(text)
        elif kind == ".json":
            yield from _items(path, text)
        else:
            while block := text.read(_BLOCK_CHARACTERS):
                yield block


def _bytes(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return pyarrow.input_stream(str(path), compression="zstd")
    return path.open("rb")


def _parquet(path: Path) -> Iterator[str]:
    is_packed = path.suffix != ".parquet"
    content = pyarrow.BufferReader(_unpacked(path)) if is_packed else path
    for batch in pyarrow.parquet.ParquetFile(content).iter_batches(_BATCH_ROWS):
        yield from map(as_line, batch.to_pylist())


def _unpacked(path: Path) -> Any:
    content = _bytes(path).read(_MAX_UNPACKED_BYTES + 1)
    if len(content) > _MAX_UNPACKED_BYTES:
        reason = f"it unpacks into more than {_MAX_UNPACKED_BYTES >> 30} GiB"
        raise Refusal.of(str(path), reason, "Unpack it, and give the Parquet file")
    return content


def _table(text: io.TextIOWrapper) -> Iterator[str]:
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = iter(lambda: text.readline(MAX_ROW_BYTES + 1), "")
    for record in csv.DictReader(map(_short, lines), restkey=""):
        record.pop("", None)
        yield as_line(record)


def _short(line: str) -> str:
    if len(line) > MAX_ROW_BYTES:
        raise csv.Error(f"a line of more than {MAX_ROW_BYTES >> 20} MiB")
    return line


def _items(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """Items of a JSON list one by one; a file that opens with an object is read as JSON Lines.

    A parser in C (ijson, yajl) is as fast, but takes lone surrogates for question marks, and one
    bad byte or NaN for the end of the file, where here a row alone is dropped for it.
    """
    buffer = text.read(_BLOCK_CHARACTERS).lstrip("\ufeff \t\r\n")
    if not buffer.startswith("["):
        yield buffer
        while block := text.read(_BLOCK_CHARACTERS):
            yield block
        return
    decoder, position, line = json.JSONDecoder(), 1, 1
    while True:
        start = _end_of_gap(buffer, position)
        if buffer.startswith("]", start):
            return
        try:
            item, end = decoder.raw_decode(buffer, start)
            # A number at the end of a block may go on in the next one.
            if end == len(buffer):
                raise json.JSONDecodeError("the list does not end", buffer, end)
        except RecursionError as error:
            raise _not_json(path, line, error) from None
        except json.JSONDecodeError as error:
            is_short = len(buffer) - position <= MAX_ROW_BYTES
            more = is_short and text.read(max(_BLOCK_CHARACTERS, len(buffer) - position))
            if not more:
                error_line = line + buffer.count("\n", position, error.pos)
                raise _not_json(path, error_line, error) from None
            buffer, position = buffer[position:] + more, 0
            continue
        yield as_line(item)
        line += buffer.count("\n", position, end)
        position = end


def _end_of_gap(buffer: str, position: int) -> int:
    gap = _GAP.match(buffer, position)
    return gap.end() if gap else position


def _not_json(path: Path, line: int, error: Exception) -> Refusal:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    fix = "Mend the list there, or write the rows as JSON Lines, one by line"
    return Refusal.of(f"{path}:{line}", f"not valid JSON ({reason})", fix)
