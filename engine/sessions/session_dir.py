"""The directory of a preview: a run's files, numbered replies, and a lock that its viewer holds."""

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.atomic import write_json
from engine.problems import Refusal
from engine.run import lock
from engine.run.rundir import RunDir, append_line

_PREFIX = "gemma-bench-preview-"
_YOUNG_S = 60.0


class PreviewDir(RunDir):
    """One preview. It lies in the folder for temporary files, so it is listed among no runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.viewer = path / "viewer.lock"
        self.diagnosis = path / "diagnosis.json"

    def hold_for_viewer(self) -> int | None:
        """Take the viewer's lock; the engine ends when it is let go, however that comes."""
        return lock.hold(self.viewer, lock.ENGINE)

    def has_viewer(self) -> bool:
        """Whether its viewer lives; not to be asked by the viewer, which would lose its lock."""
        return lock.is_held(self.viewer)

    def write_session_request(self, document: dict[str, Any]) -> None:
        """Write down what the session's engine is asked for as it starts."""
        write_json(self.request, document)

    def reply(self, number: int) -> Path:
        """File of a reply."""
        return self.path / f"preview-{number:06d}.json"

    def write_reply(self, number: int, record: dict[str, Any]) -> None:
        """Write a reply, whole or not at all."""
        write_json(self.reply(number), record)

    def take_reply(self, number: int) -> dict[str, Any] | None:
        """Read a reply, once; None where it isn't there."""
        try:
            record: dict[str, Any] = json.loads(self.reply(number).read_bytes())
        except FileNotFoundError:
            return None
        self.reply(number).unlink(missing_ok=True)
        return record

    def write_diagnosis(self, record: dict[str, Any]) -> None:
        """Write the findings so far, whole."""
        write_json(self.diagnosis, record)

    def read_diagnosis(self) -> dict[str, Any] | None:
        """The findings so far; None before the first."""
        try:
            record: dict[str, Any] = json.loads(self.diagnosis.read_bytes())
        except FileNotFoundError:
            return None
        return record

    def append(self, line: bytes) -> None:
        """Append a wish."""
        append_line(self.control, line)

    def remove(self) -> None:
        """Take the whole of it away."""
        shutil.rmtree(self.path, ignore_errors=True)


def create() -> PreviewDir:
    """Make a preview's directory. Raises `Refusal`."""
    try:
        preview = PreviewDir(Path(tempfile.mkdtemp(prefix=_PREFIX)))
        preview.write_session_request({"name": "preview"})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        fix = "Free space there, or set TMPDIR to a folder you may write to"
        raise Refusal.of(tempfile.gettempdir(), reason, fix) from None
    return preview


def sweep(own: PreviewDir) -> None:
    """Take away what is left where engine and viewer were killed at once; for engines to call.

    A viewer would lose the locks it holds by looking at them.
    """
    for path in own.path.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            is_young = time.time() - path.stat().st_mtime < _YOUNG_S
            left = PreviewDir(path)
            if path == own.path or is_young or left.has_viewer() or left.is_alive():
                continue
            left.remove()
