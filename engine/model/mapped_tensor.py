"""A tensor of a safetensors checkpoint as pages of its file, in memory once they are read."""

import math
import mmap
import warnings
from pathlib import Path

import torch
from transformers.utils import cached_file

from engine import guarded
from engine.budget.safetensors_size import StoredTensor, stored_tensors

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Numbers of a safetensors file that weights are held in."""
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
"""A checkpoint in one file, which transformers prefers; and what names those of several."""


def map_tensor(folder: Path, ending: str) -> torch.Tensor:
    """Map the one tensor whose name ends so, in its own shape and type; it can't be written to.

    Raises `ValueError` where there is none, or in other numbers than floating ones.
    """
    file, stored = _find(folder, ending)
    dtype, count = DTYPES[stored.dtype], math.prod(stored.shape)
    before = stored.first_byte % mmap.ALLOCATIONGRANULARITY
    length = before + count * dtype.itemsize
    with file.open("rb") as stream:
        start = stored.first_byte - before
        pages = mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_READ, offset=start)
    if hasattr(mmap, "MADV_RANDOM"):
        # Else the system reads megabytes around every row, where disks are set up so.
        pages.madvise(mmap.MADV_RANDOM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        flat = torch.frombuffer(pages, dtype=dtype, count=count, offset=before)
    return flat.view(stored.shape)


def folder_of(source: str, revision: str | None) -> Path:
    """Where a model's files lie: its folder, or that of the hub's cache."""
    if Path(source).is_dir():
        return Path(source)
    config = cached_file(source, "config.json", revision=revision, local_files_only=True)
    return Path(str(config)).parent


def _find(folder: Path, ending: str) -> tuple[Path, StoredTensor]:
    for file in _files(folder, ending):
        for name, stored in stored_tensors(file).items():
            if name.endswith(ending):
                if stored.dtype not in DTYPES:
                    raise ValueError(f"{name} is stored as {stored.dtype} in {file.name}")
                return file, stored
    raise ValueError(f"no safetensors file in {folder} holds {ending}")


def _files(folder: Path, ending: str) -> list[Path]:
    whole, index = folder / _WHOLE, folder / _INDEX
    if whole.is_file() or not index.is_file():
        return [whole] if whole.is_file() else []
    file_names = guarded.json_document(index)["weight_map"]
    return [folder / file for name, file in file_names.items() if name.endswith(ending)]
