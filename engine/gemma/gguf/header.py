"""The head of a GGUF file, read within bounds: what it says of itself, and where its tensors lie.

The format is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from typing import Any

from engine.gemma.gguf import files
from engine.gemma.gguf.files import Files
from engine.gemma.gguf.tensor_types import TENSOR_TYPES, TensorType
from engine.guarded import Unreadable, first_few

MAX_ENTRIES = 4096
MAX_TENSORS = 1 << 16
MAX_STRING_BYTES = 1 << 22
MAX_ITEMS = 1 << 22
"""Of a list; the vocabulary of Gemma has a sixteenth of it, and its merges an eighth."""
SMALL = 1024
"""Items of a list that is kept where only the model's shape is asked for."""
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_TORN = "it ends in the middle of its head, as one that was not fetched whole does"


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where the numbers of a tensor lie."""

    shape: tuple[int, ...]
    """Outermost first, as PyTorch has it."""
    type: TensorType
    type_id: int
    split: int
    """Which of the model's files it is in."""
    first_byte: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, which is whole blocks."""
        return self.shape[-1] // self.type.block * self.type.block_bytes

    @property
    def rows(self) -> int:
        """Rows of all dimensions but the last."""
        return math.prod(self.shape[:-1])


@dataclass(frozen=True, slots=True)
class Header:
    """What the files of a model say of it."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


def read(model: Files) -> Header:
    """The head without long lists, read once. Raises `Unreadable` and `OSError`."""
    return _read_once(model, model.identity())


@lru_cache(maxsize=16)
def _read_once(model: Files, _identity: str) -> Header:
    return read_whole(model, SMALL)


def read_whole(model: Files, max_items: int = MAX_ITEMS) -> Header:
    """The head with all lists of up to so many items. Raises `Unreadable` and `OSError`."""
    metadata: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for split, pieces in enumerate(model.splits):
        with files.opened(pieces) as stream:
            size = sum(piece.stat().st_size for piece in pieces)
            head = _Reader(stream, size, max_items)
            entries, of_split = head.entries, head.tensors(split)
        if entries.get("split.count", 1) not in (len(model.splits), 0):
            message = f"it is one of {entries['split.count']} files, of which it is not named"
            raise Unreadable(f"{message}; such names end in -00001-of-00002.gguf")
        metadata = metadata or entries
        if twice := tensors.keys() & of_split.keys():
            raise Unreadable(f"{first_few(twice)} stands in it twice")
        tensors |= of_split
    return Header(metadata, tensors)


class _Reader:
    """Reads one head from its first byte to its last."""

    def __init__(self, stream: BufferedReader, size: int, max_items: int) -> None:
        self._stream, self._size, self._max_items = stream, size, max_items
        if self._bytes(4) != files.MAGIC:
            raise Unreadable("it is no GGUF file")
        version = self._number("I")
        if version not in (2, 3):
            raise Unreadable(f"it is of version {version} of the format, and 2 and 3 are read")
        self._num_tensors = self._count(MAX_TENSORS, "tensors", 24)
        self.entries: dict[str, Any] = {}
        for _ in range(self._count(MAX_ENTRIES, "entries", 12)):
            key = self._string()
            self.entries[key] = self._value(self._number("I"))

    def tensors(self, split: int) -> dict[str, Tensor]:
        """All tensors by name; each lies within the file, and none in another."""
        described = [self._tensor() for _ in range(self._num_tensors)]
        alignment = self.entries.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise Unreadable(f"its general.alignment is {alignment!r}")
        start = -(-self._stream.tell() // alignment) * alignment
        end = start
        tensors = {}
        for name, shape, type_id, offset in sorted(described, key=lambda each: each[3]):
            tensor = Tensor(shape, TENSOR_TYPES[type_id], type_id, split, start + offset)
            if tensor.first_byte < end:
                raise Unreadable(f"tensor {name[:60]!r} begins before the one in front of it ends")
            if name in tensors:
                raise Unreadable(f"{name[:60]!r} stands in it twice")
            end = tensor.first_byte + tensor.rows * tensor.row_bytes
            if end > self._size:
                raise Unreadable(
                    f"it has {self._size:,} bytes, and its tensor {name[:60]!r} ends at {end:,}: "
                    "it was not fetched whole, or what it says is wrong"
                )
            tensors[name] = tensor
        return tensors

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        dimensions = self._number("I")
        if not 1 <= dimensions <= 4:
            raise Unreadable(f"tensor {name[:60]!r} has {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        type_id, offset = self._number("I"), self._number("Q")
        kind = TENSOR_TYPES.get(type_id)
        if kind is None or not kind.is_read:
            label = kind.name if kind else f"type {type_id}"
            raise Unreadable(f"tensor {name[:60]!r} is stored as {label}, which can't be read")
        if not all(0 < size < 1 << 40 for size in shape) or shape[-1] % kind.block:
            shown = " x ".join(map(str, shape))
            raise Unreadable(f"tensor {name[:60]!r} can't be {shown} numbers of {kind.name}")
        return name, shape, type_id, offset

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._list()
        return self._number(_format(kind))

    def _list(self) -> list[Any] | None:
        """A list; None in the place of one that is longer than is wanted."""
        kind = self._number("I")
        if kind == _ARRAY:
            raise Unreadable("there are lists of lists in it")
        width = 8 if kind == _STRING else struct.calcsize(_format(kind))
        count = self._count(MAX_ITEMS, "items", width)
        is_kept = count <= self._max_items
        if kind == _STRING:
            if is_kept:
                return [self._string() for _ in range(count)]
            for _ in range(count):
                self._bytes(self._number("Q"))
            return None
        content = self._bytes(count * width)
        return list(struct.unpack(f"<{count}{_format(kind)}", content)) if is_kept else None

    def _string(self) -> str:
        length = self._number("Q")
        if length > MAX_STRING_BYTES:
            raise Unreadable(f"a text in its head would have {length:,} bytes")
        return self._bytes(length).decode("utf-8", "replace")

    def _count(self, limit: int, what: str, least_bytes: int) -> int:
        """A count that the rest of the file has room for."""
        count: int = self._number("Q")
        if count > limit:
            raise Unreadable(f"its head would have {count:,} {what}")
        if count * least_bytes > self._size:
            raise Unreadable(_TORN)
        return count

    def _number(self, form: str) -> Any:
        (value,) = struct.unpack(f"<{form}", self._bytes(struct.calcsize(form)))
        return value

    def _bytes(self, count: int) -> bytes:
        content = self._stream.read(count) if count <= self._size else b""
        if len(content) != count:
            raise Unreadable(_TORN)
        return content


def _format(kind: int) -> str:
    if kind not in _FORMATS:
        raise Unreadable(f"its head has a value of kind {kind}, which the format doesn't know")
    return _FORMATS[kind]
