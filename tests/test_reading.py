"""Weights that are kept in another form than the file's are read; others stay pages of the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import modeling_utils

from tests import tiny


@pytest.mark.parametrize(
    ("quantization", "dtype", "backend"),
    [("none", "float32", "pread"), ("nf4", "bfloat16", "pread"), ("none", "bfloat16", "mmap")],
)
def test_weights_that_change_are_not_mapped(
    quantization: str,
    dtype: str,
    backend: str,
    gemma_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tiny Gemmas are in bfloat16."""
    opened = modeling_utils.safe_open
    told: list[Any] = []

    def watched(*given: Any, **named: Any) -> Any:
        told.append(named.get("backend"))
        return opened(*given, **named)

    monkeypatch.setattr(modeling_utils, "safe_open", watched)
    tiny.loaded(gemma_folder("gemma3"), quantization, dtype=dtype)
    assert set(told) == {backend}
    assert modeling_utils.safe_open is watched
