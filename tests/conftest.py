"""What tests share: tiny Gemmas of every architecture, and a scrubbed environment."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = ("embedded", "gemma3", "gemma4_moe", "gemma4_multimodal")
os.environ["HF_HUB_OFFLINE"] = "1"
_CACHE = tempfile.TemporaryDirectory(prefix="gemma-bench-tests-")
os.environ["GEMMA_BENCH_CACHE"] = _CACHE.name


@pytest.fixture(scope="session")
def gemma_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny Gemma by kind, built once."""
    from engine.model import siblings
    from engine.model.load import EMBEDDED_WEIGHTS

    built: dict[str, Path] = {"embedded": EMBEDDED_WEIGHTS}

    def folder(kind: str) -> Path:
        if kind not in built:
            built[kind] = tmp_path_factory.mktemp(kind)
            getattr(siblings, f"build_{kind}")(built[kind])
        return built[kind]

    return folder
