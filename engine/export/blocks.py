"""The weights of a merged model as rows in float32, a few at a time, from the base's own files."""

import math
from collections.abc import Iterator
from typing import IO, NamedTuple

import torch

from engine.budget.safetensors_size import StoredTensor
from engine.export.lora_updates import Update
from engine.model.mapped_tensor import DTYPES

BLOCK_VALUES = 1 << 18
"""A megabyte of float32, which stays in the caches of a processor while it is worked on."""


class Block(NamedTuple):
    """Some rows of a matrix, in float32."""

    base: torch.Tensor
    """(rows, in)."""
    exact: torch.Tensor
    """The same with the update, before it is rounded."""


def blocks(stream: IO[bytes], stored: StoredTensor, update: Update | None) -> Iterator[Block]:
    """All rows of a tensor in order; the stream is at its first byte. Raises `OSError`."""
    dtype: torch.dtype = DTYPES[stored.dtype]
    *stack, rows, columns = (1, *stored.shape)[-3:] if len(stored.shape) > 1 else (1, *stored.shape)
    at_once = max(1, BLOCK_VALUES // columns)
    for matrix in range(math.prod(stack)):
        for first in range(0, rows, at_once):
            count = min(at_once, rows - first)
            num_bytes = count * columns * dtype.itemsize
            content = bytearray(stream.read(num_bytes))
            if len(content) != num_bytes:
                raise OSError(f"{stream.name} ends before its last tensor does")
            base = torch.frombuffer(content, dtype=dtype).view(count, columns).to(torch.float32)
            yield Block(base, update.updated(base, matrix, first) if update else base)
