"""Rows of Parquet and Arrow files, as they were before a table's types filled them with nulls.

Every struct of a column has all keys that any row's has, null where the row had none; in a table
nothing tells them apart, so a key that is null is taken for one that is not there. A column of JSON
(the extension type arrow.json) keeps its own nulls.
"""

import json
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from engine.data.images.image_bytes import is_image, stored

_BATCH_ROWS = 1024
_FILE_MAGIC = b"ARROW1"
_JSON = "extension<arrow.json>"
_IMAGE_FIELDS = {"bytes", "path"}
"""Of datasets' Image: the file's bytes, or where it lies."""

Restore = Callable[[Any], Any]


def records(
    path: Path, kind: str, packed: bytes | mmap.mmap | None, images: Path | None
) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file or of an Arrow file or stream, batch by batch.

    `packed` is its contents where the file itself is compressed. Images in it become files in
    `images`.
    """
    content = pyarrow.BufferReader(packed) if packed is not None else str(path)
    for batch in _parquet(content) if kind == ".parquet" else _arrow(content):
        yield from restored(batch, images)


def restored(table: Any, images: Path | None) -> Iterator[dict[str, Any]]:
    """Rows of a batch or table, without what only its types put there."""
    restores = {field.name: _restore(field.type, images) for field in table.schema}
    for row in table.to_pylist():
        yield {
            name: restore(value) if (restore := restores[name]) else value
            for name, value in row.items()
            if value is not None
        }


def _parquet(content: "str | pyarrow.NativeFile") -> Iterator[Any]:
    yield from pyarrow.parquet.ParquetFile(content).iter_batches(_BATCH_ROWS)


def _arrow(content: Any) -> Iterator[Any]:
    source = pyarrow.memory_map(content) if isinstance(content, str) else content
    is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    source.seek(0)
    if is_file:
        reader = pyarrow.ipc.open_file(source)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        batches = iter(pyarrow.ipc.open_stream(source))
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            yield batch.slice(start, _BATCH_ROWS)


def _restore(kind: Any, images: Path | None) -> Restore | None:
    """What brings a value of a type back to what it was; None where it is that already."""
    types = pyarrow.types
    if str(kind) == _JSON:
        return json.loads
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _restore(kind.storage_type, images)
    if types.is_map(kind):
        inner = _restore(kind.item_type, images) or _same
        return lambda pairs: {key: inner(value) for key, value in pairs}
    if types.is_struct(kind):
        return _restore_struct(kind, images)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return lambda content: _text_or_image(content, images)
    if is_list := getattr(kind, "value_type", None):
        inner_or_none = _restore(is_list, images)
        if inner_or_none is None or types.is_dictionary(kind):
            return None
        return lambda items: [None if item is None else inner_or_none(item) for item in items]
    return None


def _restore_struct(kind: Any, images: Path | None) -> Restore:
    inner = {field.name: _restore(field.type, images) or _same for field in kind}
    if {*inner} == _IMAGE_FIELDS and pyarrow.types.is_binary(kind.field("bytes").type):
        return lambda file: (
            stored(file["bytes"], images) if file["bytes"] is not None else file["path"]
        )
    return lambda struct: {
        key: inner[key](value) for key, value in struct.items() if value is not None
    }


def _same(value: object) -> Any:
    return value


def _text_or_image(content: bytes, images: Path | None) -> str:
    """What untyped bytes are: text, the file of an image, or something that has a size only."""
    if is_image(content):
        return stored(content, images)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return f"{len(content)} bytes"
