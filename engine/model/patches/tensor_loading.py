"""How weights come out of their files: as pages of them, or read one tensor after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from transformers import modeling_utils


@contextmanager
def tensor_by_tensor(becomes_another: bool) -> Iterator[None]:
    """While it lasts, weights that are kept in another form than the file's are read, not mapped.

    Mapped pages count as this process's memory until the whole file is let go, so that a model
    which is cast or quantised would be held twice: 1.6 GB at Gemma 3 270M's peak in float32, where
    1.1 GB are left. Weights that stay as they are become pages of the file, which need no copy.
    """
    opened = modeling_utils.safe_open

    @wraps(opened)
    def read(*given: Any, **named: Any) -> Any:
        return opened(*given, **{**named, "backend": "pread"})

    if becomes_another:
        modeling_utils.safe_open = read
    try:
        yield
    finally:
        modeling_utils.safe_open = opened
