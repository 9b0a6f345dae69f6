"""Rows of a dataset on the hub, or a clear word at once where they can't be had."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.atomic import write_lines
from engine.data.cache_folder import CacheFolder
from engine.data.reading.arrow_rows import restored
from engine.data.reading.files import as_line, bounded, digest, spool_path
from engine.data.reading.progress import Progress
from engine.data.reading.row_index import RowIndex, index_rows
from engine.problems import Refusal
from engine.recipe.schema import Source

_HOST = ("huggingface.co", 443)
_REACH_S = 3.0


def opened(source: Source, cache: CacheFolder, progress: Progress) -> tuple[RowIndex, str]:
    """The rows of a hub dataset and the digest of their contents. Raises `Refusal`."""
    rows = _loaded(source)
    spool = spool_path(cache.path, rows._fingerprint)
    if not spool.exists():
        write_lines(spool, bounded(_lines(rows, cache.images), str(source.id), progress))
    return index_rows(str(source.id), spool, progress), digest(spool, progress)


def _lines(rows: Any, images: Path | None) -> Iterator[str]:
    """Rows as they are stored: images become files, sounds are not decoded."""
    for table in rows.with_format("arrow").iter(1024):
        yield from map(as_line, restored(table, images))


def _loaded(source: Source) -> Any:
    import datasets
    from huggingface_hub import constants

    where = str(source.id)
    is_reachable = not constants.HF_HUB_OFFLINE and _is_reachable()
    if not is_reachable:
        # Without this the libraries try again for minutes before they look into the cache.
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        return datasets.load_dataset(
            where, source.config, split=source.split or "train", revision=source.revision
        )
    except Exception as error:
        if not is_reachable:
            reason = "the hub can't be reached and the dataset is not in its cache"
            fix = "Connect once to fetch it, or give a local file as path"
            raise Refusal.of(where, reason, fix) from None
        fix = "Check id, config, split and revision on its page; gated sets need `hf auth login`"
        reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
        raise Refusal.of(where, reason, fix) from None


def _is_reachable() -> bool:
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    try:
        with socket.create_connection(_HOST, _REACH_S):
            return True
    except OSError:
        return False
