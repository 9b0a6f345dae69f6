"""Files of any kind as JSON Lines: read in a stream, written once, found by their contents."""

import csv
import gzip
import hashlib
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from engine.atomic import write_lines
from engine.data.code_version import code_version
from engine.data.reading.row_index import RowIndex, index_rows
from engine.problems import Refusal
from engine.recipe.data_files import ending

_BLOCK_CHARACTERS = 1 << 20
_BATCH_ROWS = 1024
_GAP = re.compile(r"[ \t\r\n,]*")
"""What stands between the items of a list."""
_ENCODER = json.JSONEncoder(default=str)


def digest(path: Path) -> str:
    """SHA-256 of a file's contents. Raises `Refusal` where it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refusal.of(
            str(path), (error.strerror or str(error)).lower(), "Mend the path"
        ) from None


def opened(path: Path, contents: str, cache: Path) -> RowIndex:
    """The rows of a file whose contents have the digest `contents`. Raises `Refusal`."""
    if path.suffix == ".jsonl":
        return index_rows(str(path), path)
    # The reading depends on the ending, so files of the same bytes may differ in rows.
    spool = spool_path(cache, f"{contents[:32]}{ending(path)}")
    if not spool.exists():
        try:
            write_lines(spool, _lines(path))
        except (OSError, EOFError, zlib.error, csv.Error, pyarrow.ArrowException) as error:
            fix = "Make the file anew, or leave it out"
            raise Refusal.of(str(path), f"it can't be read ({error})", fix) from None
    return index_rows(str(path), spool)


def spool_path(cache: Path, name: str) -> Path:
    """Where rows lie as JSON Lines that were read, by this code, from what `name` stands for."""
    return cache / "lines" / f"{name}-{code_version()[:16]}.jsonl"


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
            yield from text


def _bytes(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        return pyarrow.input_stream(str(path), compression="zstd")
    return path.open("rb")


def _parquet(path: Path) -> Iterator[str]:
    is_packed = path.suffix != ".parquet"
    content = pyarrow.BufferReader(_bytes(path).read()) if is_packed else path
    for batch in pyarrow.parquet.ParquetFile(content).iter_batches(_BATCH_ROWS):
        yield from map(as_line, batch.to_pylist())


def _table(text: io.TextIOWrapper) -> Iterator[str]:
    csv.field_size_limit(sys.maxsize)
    for record in csv.DictReader(text, restkey=""):
        record.pop("", None)
        yield as_line(record)


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
            more = text.read(max(_BLOCK_CHARACTERS, len(buffer) - position))
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
