"""A folder for what can be made again: the user's cache, or a temporary one where that can't be."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import guarded
from engine.problems import Refusal


@dataclass(frozen=True, slots=True)
class CacheFolder:
    """Where rows are kept while they are prepared, and maybe longer."""

    path: Path
    is_temporary: bool
    why_temporary: str = ""
    """What is wrong with the cache that was wanted; empty where none was."""

    @property
    def images(self) -> Path | None:
        """Where images are kept that rows hold as bytes; None where they wouldn't last."""
        return None if self.is_temporary else self.path / "images"


@contextmanager
def cache_folder(path: Path | None) -> Iterator[CacheFolder]:
    """Give the wanted folder where it is this user's and can be written to, else one that goes.

    Raises `Refusal` where there is room for neither.
    """
    why = ""
    if path is not None:
        why = _unfit(path)
        if not why:
            yield CacheFolder(path, is_temporary=False)
            return
    with temporary_folder(why) as folder:
        yield folder


@contextmanager
def temporary_folder(why: str) -> Iterator[CacheFolder]:
    """Give a folder of a name that nobody else can know, for as long as it is used."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="gemma-bench-", ignore_cleanup_errors=True)
    except OSError as error:
        fix = "Set TMPDIR or GEMMA_BENCH_CACHE to a folder that you may write to"
        raise Refusal.of("TMPDIR", guarded.reason(error), fix) from None
    with temporary as path:
        yield CacheFolder(Path(path), is_temporary=True, why_temporary=why)


def _unfit(folder: Path) -> str:
    """Say why rows can't be kept in a folder, which is made where it isn't there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            return f"{folder} belongs to another user"
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} can't be written to: {guarded.reason(error)}"
