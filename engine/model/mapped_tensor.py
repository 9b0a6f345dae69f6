"""A tensor of a safetensors checkpoint as pages of its file, in memory once they are read."""

import json
import math
import mmap
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers.utils import cached_file

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
"""A checkpoint in one file, which transformers prefers; and what names those of several."""


class _Place(NamedTuple):
    file: Path
    first_byte: int
    dtype: torch.dtype
    shape: list[int]


def mapped(folder: Path, ending: str) -> torch.Tensor:
    """The one tensor whose name ends so, mapped into memory and never to be written to.

    Raises `ValueError` where there is none, or in other numbers than floating ones.
    """
    place = _find(folder, ending)
    count = math.prod(place.shape)
    before = place.first_byte % mmap.ALLOCATIONGRANULARITY
    length = before + count * place.dtype.itemsize
    with place.file.open("rb") as stream:
        start = place.first_byte - before
        pages = mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_READ, offset=start)
    if hasattr(mmap, "MADV_RANDOM"):
        # Else the system reads megabytes around every row, where disks are set up so.
        pages.madvise(mmap.MADV_RANDOM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        flat = torch.frombuffer(pages, dtype=place.dtype, count=count, offset=before)
    return flat.view(place.shape)


def folder_of(source: str, revision: str | None) -> Path:
    """Where a model's files lie: its folder, or that of the hub's cache."""
    if Path(source).is_dir():
        return Path(source)
    config = cached_file(source, "config.json", revision=revision, local_files_only=True)
    return Path(str(config)).parent


def _find(folder: Path, ending: str) -> _Place:
    for file in _files(folder, ending):
        header, data = _header(file)
        for name, told in header.items():
            if name.endswith(ending):
                if told["dtype"] not in _DTYPES:
                    raise ValueError(f"{name} is stored as {told['dtype']} in {file.name}")
                first = data + told["data_offsets"][0]
                return _Place(file, first, _DTYPES[told["dtype"]], told["shape"])
    raise ValueError(f"no safetensors file in {folder} holds {ending}")


def _files(folder: Path, ending: str) -> list[Path]:
    whole, index = folder / _WHOLE, folder / _INDEX
    if whole.is_file() or not index.is_file():
        return [whole] if whole.is_file() else []
    names = json.loads(index.read_bytes())["weight_map"]
    return [folder / file for name, file in names.items() if name.endswith(ending)]


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Tensors by name, and where their bytes begin: after 8 bytes of length, and JSON."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length
