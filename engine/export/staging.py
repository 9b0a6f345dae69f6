"""A folder that is there whole or not at all, with a manifest that hashes each of its files."""

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from engine import guarded
from engine.atomic import sync_folder, write_json
from engine.problems import Refusal
from engine.run import disk, failpoint
from engine.sessions import export_order
from engine.units import GIB

SCHEMA_VERSION = 1
_PIECE_BYTES = 1 << 22
_PIECES_IN_HAND = 4
"""That wait for the disk."""
_SPARE_BYTES = 1 << 24
"""For tokenizer, configuration and manifest beside the weights."""


class HashedFile:
    """A file that is written once, from its beginning, and hashed on the way.

    A thread of its own does both, while what comes next is computed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        self.num_bytes = 0

    def write(self, content: Any) -> None:
        """Append bytes, or what lends its own and is changed no more. Raises `OSError`."""
        self.num_bytes += memoryview(content).nbytes
        if len(self._waiting) == _PIECES_IN_HAND:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._append, content))

    def _append(self, content: Any) -> None:
        self._file.write(content)
        self._digest.update(content)

    def entry(self) -> dict[str, Any]:
        """What the manifest says of it, once all of it is written. Raises `OSError`."""
        while self._waiting:
            self._waiting.popleft().result()
        return {"bytes": self.num_bytes, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


class Staging:
    """The files of an export so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, dict[str, Any]] = {}

    @contextmanager
    def file(self, name: str) -> Iterator[HashedFile]:
        """Open a file of the export; it is on the disk at the end."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("xb") as opened:
            hashed = HashedFile(opened)
            try:
                yield hashed
                self._entries[name] = hashed.entry()
            finally:
                hashed.close()
            opened.flush()
            os.fsync(opened.fileno())

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self.file(name) as file:
            file.write(content)

    def copy(self, source: Path, name: str) -> None:
        """Copy a file's bytes."""
        with source.open("rb") as stream, self.file(name) as file:
            while piece := stream.read(_PIECE_BYTES):
                file.write(piece)

    def sign(self, facts: dict[str, Any]) -> None:
        """Write the manifest, once all else is there."""
        files = dict(sorted(self._entries.items()))
        document = {"schema": SCHEMA_VERSION, **facts, "files": files}
        write_json(self.folder / export_order.MANIFEST, document)


@contextmanager
def staged(folder: Path, num_bytes: int) -> Iterator[Staging]:
    """Make a folder that gets its name at the end; on an error nothing of it is left.

    Raises `Refusal` where the disk has no room for so many bytes, and `OSError` where it fails.
    """
    partial = export_order.partial(folder)
    try:
        _make_parents(folder)
        shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
        _require_room(folder, num_bytes + _SPARE_BYTES)
        partial.mkdir(mode=0o700)
        failpoint.reached("export.begun")
        yield Staging(partial)
        sync_folder(partial)
        failpoint.reached("export.written")
        partial.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _make_parents(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in disk.FULL:
            raise
        reason = guarded.why_no_folder(folder.parent) or guarded.reason(error)
        fix = "Give another folder with --out"
        raise Refusal.of(str(folder.parent), reason, fix) from None


def _require_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < num_bytes:
        needed = f"it takes {num_bytes / GIB:.2f} GiB, and {free / GIB:.2f} are free there"
        fix = "Free some, or give a folder on another disk with --out"
        raise Refusal.of(str(folder), needed, fix)
