"""Where prepared rows are kept between runs."""

import os
from pathlib import Path


def folder() -> Path:
    """The user's cache folder; GEMMA_BENCH_CACHE puts it elsewhere."""
    own = os.environ.get("GEMMA_BENCH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(home) / "gemma-bench"
