"""The directory of a session: a run's files, numbered replies, and a lock that its viewer holds."""

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import guarded
from engine.atomic import write_json
from engine.problems import Refusal
from engine.run import lock
from engine.run.rundir import RunDir, append_line

_PREFIX = "gemma-bench-preview-"
_YOUNG_S = 60.0


class SessionDir(RunDir):
    """One session. It lies in the folder for temporary files, so it is listed among no runs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.viewer = path / "viewer.lock"
        self.diagnosis = path / "diagnosis.json"

    def hold_for_viewer(self) -> int:
        """Take the viewer's lock; the engine ends when it is let go, however that comes.

        Raises `Refusal` where none is granted; nothing of the session is left then.
        """
        try:
            lock_fd = lock.hold(self.viewer, lock.ENGINE)
        except OSError as error:
            self.remove()
            raise _refused(error) from None
        assert lock_fd is not None
        return lock_fd

    def has_viewer(self) -> bool:
        """Whether its viewer lives; not to be asked by the viewer, which would lose its lock."""
        return lock.is_held(self.viewer)

    def reply(self, number: int) -> Path:
        """File of a reply."""
        return self.path / f"preview-{number:06d}.json"

    def write_reply(self, number: int, record: dict[str, Any]) -> None:
        """Write a reply, whole or not at all."""
        write_json(self.reply(number), record)

    def take_reply(self, number: int) -> dict[str, Any] | None:
        """Read a reply, once; None where it isn't there."""
        record = _record(self.reply(number))
        # Where there was none a moment ago there may be one by now, which is not read yet.
        if record is not None:
            self.reply(number).unlink()
        return record

    def write_diagnosis(self, record: dict[str, Any]) -> None:
        """Write the findings so far, whole."""
        write_json(self.diagnosis, record)

    def read_diagnosis(self) -> dict[str, Any] | None:
        """The findings so far; None before the first."""
        return _record(self.diagnosis)

    def append(self, line: bytes) -> None:
        """Append a command."""
        append_line(self.control, line)

    def remove(self) -> None:
        """Take the whole of it away."""
        shutil.rmtree(self.path, ignore_errors=True)


def create(request: dict[str, Any]) -> SessionDir:
    """Make a session's directory, with what its engine reads as it starts. Raises `Refusal`."""
    try:
        session = SessionDir(Path(tempfile.mkdtemp(prefix=_PREFIX)))
        write_json(session.request, request)
    except OSError as error:
        raise _refused(error) from None
    return session


def _refused(error: OSError) -> Refusal:
    """Say what is wrong with the folder for temporary files, or that there is none."""
    reason = guarded.reason(error)
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = "no folder for temporary files"
    fix = "Free space there, or set TMPDIR to a folder on another disk that you may write to"
    return Refusal.of(folder, reason, fix)


def sweep(own: SessionDir) -> None:
    """Take away what is left where engine and viewer were killed at once; for engines to call.

    A viewer would lose the locks it holds by looking at them.
    """
    for path in own.path.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            is_young = time.time() - path.stat().st_mtime < _YOUNG_S
            left = SessionDir(path)
            if path == own.path or is_young or left.has_viewer() or left.is_alive():
                continue
            left.remove()


def _record(file: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    return record
