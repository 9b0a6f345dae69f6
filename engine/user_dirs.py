"""Where the user's own files are kept between runs."""

import os
from pathlib import Path

_NAME = "gemma-bench"


def cache() -> Path:
    """Files that can be made again (XDG base directory specification 0.8)."""
    return _below("XDG_CACHE_HOME", ".cache")


def data() -> Path:
    """Files that can't, such as what a card was measured to need."""
    return _below("XDG_DATA_HOME", ".local/share")


def _below(variable: str, usual: str) -> Path:
    given = os.environ.get(variable, "")
    folder = Path(given) if os.path.isabs(given) else Path.home() / usual
    return folder / _NAME
