"""The least memory of a model whose shape is not known: its weights, from its files' headers."""

import json
import math
from pathlib import Path
from typing import NamedTuple

from engine.units import GIB

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
_CAST = {"float32": 4, "float16": 2, "bfloat16": 2}
_MAX_HEADER_BYTES = 100_000_000
"""The limit of the format."""


def weights_gib(folder: Path, dtype: str, *, without: tuple[str, ...] = ()) -> float:
    """GiB of a model's tensors, floating ones held in `dtype` ("auto": as they are stored).

    Modules named in `without` are left out, as those that a device is never given. Reads only
    safetensors headers: 8 bytes of little-endian length, then JSON with dtype and shape
    (https://github.com/huggingface/safetensors, "Format"). Raises `ValueError` for a file that is
    none, as the pointer is that git-lfs leaves in the place of a file it did not fetch, and where
    there is no file.
    """
    total = 0
    files = [*folder.glob("*.safetensors")]
    if not files:
        raise ValueError("it holds no .safetensors file, and nothing else is opened")
    for file in files:
        for name, tensor in stored_tensors(file).items():
            if not set(without).isdisjoint(name.split(".")):
                continue
            stored = _BYTES.get(tensor.dtype, 1)
            width = _CAST.get(dtype, stored) if tensor.dtype in {"F32", "F16", "BF16"} else stored
            total += math.prod(tensor.shape) * width
    return total / GIB


class StoredTensor(NamedTuple):
    """A tensor as the header of its file describes it."""

    dtype: str
    """The format's own name, such as `BF16`."""
    shape: tuple[int, ...]
    first_byte: int
    """Where its values begin in the file."""


def stored_tensors(file: Path) -> dict[str, StoredTensor]:
    """Tensors of a safetensors file by name. Raises `ValueError` for a file that is none."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        head = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(head)
        header.pop("__metadata__", None)
        return {
            name: StoredTensor(
                str(t["dtype"]), tuple(t["shape"]), 8 + length + t["data_offsets"][0]
            )
            for name, t in header.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{file.name} is no safetensors file") from None
