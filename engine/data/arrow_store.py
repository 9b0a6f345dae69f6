"""Prepared rows in a file that is mapped into memory, so that their number doesn't matter."""

import os
from array import array
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow

from engine.atomic import partial_path
from engine.data.conversation import Conversation, conversation
from engine.data.encoding.tokens import IGNORED, Tokens
from engine.data.row_pipeline import KeptRow

SCHEMA = pyarrow.schema(
    {
        "source": pyarrow.int16(),
        "file": pyarrow.int32(),
        "number": pyarrow.int64(),
        "ids": pyarrow.large_list(pyarrow.int32()),
        "labels": pyarrow.large_list(pyarrow.int32()),
        "length": pyarrow.int32(),
        "supervised": pyarrow.int32(),
        "is_truncated": pyarrow.bool_(),
        "fact": pyarrow.string(),
        "group": pyarrow.int64(),
        "turns": pyarrow.string(),
        "images": pyarrow.list_(pyarrow.string()),
        "weights": pyarrow.large_list(pyarrow.float64()),
    }
)


_CODES = {"int32": "i", "double": "d"}
"""Of the standard library's arrays, by Arrow's type."""


class Writer:
    """Writes kept rows in batches; the file appears under its name when it is closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._partial = path, partial_path(path)
        self._writer = pyarrow.ipc.new_file(str(self._partial), SCHEMA)

    def write(self, source: int, file: int, rows: list[KeptRow]) -> None:
        """One batch, all of one file."""
        if not rows:
            return
        columns: list[list[Any]] = [
            [source] * len(rows),
            [file] * len(rows),
            [row.number for row in rows],
            [row.tokens.ids for row in rows],
            [row.tokens.labels for row in rows],
            [row.length for row in rows],
            [row.supervised for row in rows],
            [row.tokens.is_truncated for row in rows],
            [row.fact for row in rows],
            [row.group for row in rows],
            [row.turns for row in rows],
            [row.tokens.images for row in rows],
            [[*row.tokens.weights] for row in rows],
        ]
        arrays = [_array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=SCHEMA))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        self._partial.rename(self._path)

    def discard(self) -> None:
        """Leave nothing of it."""
        self._writer.close()
        self._partial.unlink(missing_ok=True)


def _array(column: list[Any], kind: Any) -> Any:
    if not pyarrow.types.is_large_list(kind):
        return pyarrow.array(column, kind)
    # pyarrow would look at every number's type.
    numbers = array(_CODES[str(kind.value_type)])
    for values in column:
        numbers.fromlist(values)
    ends = np.cumsum([0, *map(len, column)])
    values = pyarrow.array(np.frombuffer(numbers, numbers.typecode), kind.value_type)
    return pyarrow.LargeListArray.from_arrays(ends, values)


class Rows(Sequence[Tokens]):
    """Rows of a mapped file in the order of one epoch, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        sizes = [batch.num_rows for batch in self._batches]
        self._firsts = np.cumsum([0, *sizes])
        self.order = np.arange(self._firsts[-1])
        """Row of the file for each row of the epoch, int64; a weight repeats or leaves out rows."""
        self.hold_images = self._hold("images")
        self.hold_weights = self._hold("weights")

    def _hold(self, name: str) -> bool:
        """Whether any row's list in a column has something in it."""
        return any(len(batch.column(name).flatten()) for batch in self._batches)

    def __len__(self) -> int:
        return len(self.order)

    def once(self) -> "Rows":
        """The same rows with each of them once, whatever weights repeat."""
        rows = copy(self)
        rows.order = np.unique(self.order)
        return rows

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...
    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        """One row's tokens."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        batch, at = self._place(index)
        ids, labels = (batch.column(name)[at].values.to_pylist() for name in ("ids", "labels"))
        images = tuple(batch.column("images")[at].as_py()) if self.hold_images else ()
        weights = batch.column("weights")[at].values.to_pylist() if self.hold_weights else ()
        return Tokens(ids, labels, batch.column("is_truncated")[at].as_py(), images, weights)

    def _place(self, index: int) -> tuple[Any, int]:
        row = int(self.order[index])
        number = int(np.searchsorted(self._firsts, row, "right")) - 1
        return self._batches[number], row - int(self._firsts[number])

    def cell(self, index: int, name: str) -> Any:
        """One value of one row."""
        batch, at = self._place(index)
        return batch.column(name)[at].as_py()

    def turns(self, index: int) -> Conversation:
        """The conversation of one row."""
        return conversation(self.cell(index, "turns"))

    def column(self, name: str) -> np.ndarray:
        """The numbers of a column for each row of the epoch: (rows,), of the type in SCHEMA."""
        return self._each(batch.column(name) for batch in self._batches)

    def sizes(self) -> np.ndarray:
        """Tokens of each row, after truncation: (rows,) of int64."""
        return self._each(batch.column("ids").value_lengths() for batch in self._batches)

    def _each(self, arrays: Iterator[Any]) -> np.ndarray:
        parts = [array.to_numpy(zero_copy_only=False) for array in arrays]
        return np.concatenate([np.zeros(0, np.int64), *parts])[self.order]

    def contents(self) -> Iterator[bytes]:
        """Bytes that differ where ids, labels, their bounds and weights, the order or images do.

        Of an image its name and size count.
        """
        for batch in self._batches:
            ids, labels = batch.column("ids"), batch.column("labels")
            yield ids.value_lengths().to_numpy().tobytes()
            yield ids.flatten().to_numpy().tobytes()
            yield (labels.flatten().to_numpy() != IGNORED).tobytes()
            yield batch.column("weights").flatten().to_numpy().tobytes()
        yield self.order.tobytes()
        for image in self.images():
            yield f"{Path(image).name} {os.path.getsize(image)}\n".encode()

    def images(self) -> Iterator[str]:
        """Every image file of the file's rows, in order."""
        for batch in self._batches:
            yield from batch.column("images").flatten().to_pylist()
