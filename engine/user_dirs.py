"""Where the user's own files are kept between runs (XDG base directory specification 0.8)."""

import os
from pathlib import Path

_NAME = "gemma-bench"


def cache() -> Path:
    """Files that can be made again; GEMMA_BENCH_CACHE names another folder for them."""
    own = os.environ.get("GEMMA_BENCH_CACHE")
    return Path(own) if own else _below("XDG_CACHE_HOME", ".cache")


def data() -> Path:
    """Files that can't, such as what a card was measured to need."""
    return _below("XDG_DATA_HOME", ".local/share")


def state() -> Path:
    """What is of use until the next time, such as the story of a crash."""
    return _below("XDG_STATE_HOME", ".local/state")


def config() -> Path:
    """What the user wrote: settings."""
    return _below("XDG_CONFIG_HOME", ".config")


def _below(variable: str, usual: str) -> Path:
    """The specification has relative paths ignored. Who has no home can write nothing there."""
    named = os.environ.get(variable, "")
    if os.path.isabs(named):
        return Path(named) / _NAME
    try:
        home = Path.home()
    except RuntimeError:
        home = Path(os.devnull)
    return home / usual / _NAME
