"""Weights that change their form as they are loaded are read one after the other, not mapped.

Mapped pages count as this process's memory until the whole file is let go, so that a model which
is cast or quantised would be held twice: 1.6 GB at Gemma 3 270M's peak in float32, where 1.1 GB are
left. Weights that stay as they are become pages of the file, which need no copy.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from transformers import modeling_utils

from engine.model.patches.replaced import replaced
from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor("transformers", ">=5.22,<5.24", ("transformers.modeling_utils:safe_open",))


@contextmanager
def tensor_by_tensor(changes_form: bool) -> Iterator[None]:
    """Let transformers read its files tensor by tensor where weights are cast or quantised."""
    if not changes_form:
        yield
        return
    with replaced(modeling_utils, "safe_open", _reading):
        yield


def _reading(safe_open: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(safe_open)
    def read(*args: object, **kwargs: object) -> Any:
        return safe_open(*args, **{**kwargs, "backend": "pread"})

    return read
