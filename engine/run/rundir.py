"""A run's directory: the only place that knows its file names, and what state they tell."""

import contextlib
import errno
import itertools
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import events, guarded
from engine.atomic import write_json, write_whole
from engine.problems import ExitCode, Refusal
from engine.run import lock
from engine.run.exit_record import cause_of_death
from engine.run.tail import Tail

if TYPE_CHECKING:
    from engine.run.request import Request

RUNS = Path("runs")
"""Where runs are made and listed unless told otherwise: a folder of the current one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a run below `runs` may be called."""
MINUTE_FORMAT = "%Y-%m-%d-%H%M"
"""What such a name begins with: when the run was made."""
_TAIL_BYTES = 1 << 16


class Want(StrEnum):
    """What a viewer may ask of a run."""

    STOP = "stop"
    SAVE = "save"
    SAMPLE = "sample"
    MARK = "mark"


class RunStatus(StrEnum):
    """Where a run stands."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    DIED = "died"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class State:
    """What became of a run, derived from its files."""

    name: RunStatus
    cause: str = ""
    """How it ended, in words, where it did not end well."""

    @property
    def is_alive(self) -> bool:
        """Whether its engine is at work."""
        return self.name in {RunStatus.STARTING, RunStatus.RUNNING}


class RunDir:
    """One run. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.recipe = path / "recipe.toml"
        self.request = path / "request.json"
        self.plan = path / "plan.json"
        self.events = path / "events.jsonl"
        self.control = path / "control.jsonl"
        self.lock = path / "engine.run.lock"
        self.log = path / "engine.log"
        self.ending = path / "exit.json"
        self.adapter = path / "adapter"
        self.checkpoints = path / "checkpoints"
        self.exports = path / "export"

    @property
    def exists(self) -> bool:
        """Whether a run was created here, in whatever state its files are."""
        return os.path.lexists(self.request)

    @property
    def argument(self) -> str:
        """What a shell in this folder gives commands for it: its name below `runs`, or its path."""
        return shlex.quote(self.name if self.path.parent == RUNS else str(self.path))

    def checkpoint(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.checkpoints / f"step-{step:06d}"

    def is_alive(self) -> bool:
        """Whether an engine or its supervisor holds the lock."""
        return lock.is_held(self.lock)

    def require_own(self) -> None:
        """Raises `Refusal` where it is another user's: an engine would work on what they wrote."""
        if not _is_own(self.path):
            fix = "Copy it and go on with the copy, or ask its owner"
            raise Refusal.of(str(self.path), "it belongs to another user", fix)

    def require_locks(self) -> None:
        """Raises `Refusal` where its file system grants none, by which engines keep apart."""
        try:
            lock.require(self.request)
        except lock.NoLocks as error:
            fix = "Copy the run to another disk and go on with the copy"
            raise Refusal.of(str(self.path), str(error.strerror), fix) from None

    def at_work(self) -> Refusal:
        """Refuse to start another engine in it."""
        holder = lock.holder(self.lock)
        reason = f"the run is at work ({holder})" if holder else "the run is at work"
        fix = f"Follow it: gemma-bench attach {self.path}"
        return Refusal.of(str(self.path), reason, fix, exit_code=ExitCode.IN_THE_WAY)

    def state(self) -> State:
        """Derive it from the last event, else the lock, else how the process ended.

        A run with a file that is none, or that can't be read, is damaged, whatever the others tell.
        """
        if damage := self.damage():
            return State(RunStatus.DAMAGED, damage)
        is_alive = self.is_alive()
        last = next(self.last_events(), None)
        if isinstance(last, events.Done):
            if last.stopped_by:
                return State(RunStatus.STOPPED, f"by {last.stopped_by}")
            return State(RunStatus.DONE)
        if isinstance(last, events.Failed):
            return State(RunStatus.FAILED, last.error)
        if is_alive:
            return State(RunStatus.RUNNING if last else RunStatus.STARTING)
        try:
            lock.require(self.lock)
        except lock.NoLocks as error:
            return State(RunStatus.DAMAGED, f"{error.strerror}, so none can tell if it is at work")
        return State(RunStatus.DIED, self._cause_of_death())

    def damage(self) -> str:
        """Say which of its files can't be read as one, and why; empty where all can."""
        for path in (self.request, self.plan, self.events, self.control, self.lock, self.ending):
            try:
                guarded.require_regular(path)
                if not os.access(path, os.R_OK):
                    return f"{path.name}: permission denied"
            except FileNotFoundError:
                if path == self.request:
                    return f"{path.name}: it leads nowhere"
            except (OSError, guarded.Unreadable) as error:
                return f"{path.name}: {guarded.reason(error)}"
        return ""

    def last_events(self) -> Iterator[events.Event]:
        """Read events from the last one back, as far as the log's last kilobytes hold them."""
        try:
            with guarded.opened(self.events) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read(_TAIL_BYTES).split(b"\n")[:-1]
        except (OSError, guarded.Unreadable):
            return
        yield from (event for line in reversed(lines) if (event := events.decode(line)))

    def events_bytes(self) -> int:
        """Size of its events; one that nobody started yet has none."""
        return self.events.stat().st_size if self.events.exists() else 0

    def _cause_of_death(self) -> str:
        try:
            return cause_of_death(guarded.json_document(self.ending))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "the machine or its supervisor went down with it"

    def ask(self, want: Want, by: str) -> None:
        """Append a wish for the engine to read between steps. Raises `ValueError` for no `Want`."""
        line = json.dumps({"want": Want(want), "by": by}) + "\n"
        append_line(self.control, line.encode())

    def wishes(self, *, are_past: bool = False) -> Tail:
        """Follow the wishes, from the first on; or without those that are there already."""
        skips = are_past and self.control.exists()
        return Tail(self.control, self.control.stat().st_size if skips else 0)

    def write_request(self, request: "Request") -> None:
        """Write it, before the engine starts."""
        write_json(self.request, request.as_dict())

    def write_plan(self, plan: dict[str, Any]) -> None:
        """Write what the request resolved to, once, by the engine."""
        write_json(self.plan, plan)

    def read_request(self) -> "Request":
        """Read it. Raises `Refusal` where it is damaged or another version's."""
        from engine.run import request  # pydantic takes longer than a list of runs

        return request.read(self.request)

    def read_request_document(self) -> dict[str, Any]:
        """Read it as plain data, whatever version or job it is of. Raises `Refusal`."""
        from engine.run import request

        return request.read_document(self.request)

    def read_plan(self) -> dict[str, Any]:
        """Read what the request resolved to. Raises `OSError` or `ValueError`."""
        plan: dict[str, Any] = guarded.json_document(self.plan)
        return plan

    def delete(self) -> None:
        """Remove the run with all that it made; one that can't go whole stays a run.

        Raises `Refusal` where the run is at work or a link, `OSError` where files can't be removed.
        """
        if self.is_alive():
            raise Refusal.of(
                str(self.path), "the run is at work", "Stop it first", exit_code=ExitCode.IN_THE_WAY
            )
        if self.path.is_symlink():
            raise Refusal.of(str(self.path), "it is a link to a folder", "Remove the link by hand")
        for path in sorted(self.path.iterdir(), key=lambda path: path == self.request):
            is_folder = path.is_dir() and not path.is_symlink()
            shutil.rmtree(path) if is_folder else path.unlink()
        self.path.rmdir()


def create(recipe: bytes, request: "Request", out: Path | None) -> RunDir:
    """Make a run directory with its recipe and request; on refusal nothing is left behind.

    `out` is the run directory itself; without it one named by date, time and recipe is made
    below `runs`. Raises `Refusal`, with exit code 3 where a live run is in the way.
    """
    run = RunDir(RUNS / _name_now(request.name) if out is None else out)
    existing = {folder for folder in (run.path, *run.path.parents) if os.path.exists(folder)}
    try:
        if out is None:
            run = _make_numbered(run.path)
        else:
            _take_empty(run)
        write_whole(run.recipe, recipe)
        lock.require(run.recipe)
        run.write_request(request)
    except OSError as error:
        _unmake(run, existing)
        reason = guarded.why_no_folder(run.path) or guarded.reason(error)
        kind = "on another disk" if isinstance(error, lock.NoLocks) else "you may write to"
        fix = f"Give a folder {kind} with --out" + (", or start from one" if out is None else "")
        raise Refusal.of(str(run.path), reason, fix) from None
    except KeyboardInterrupt:
        _unmake(run, existing)
        raise
    return run


def _occupied(run: RunDir) -> Refusal:
    if run.state().is_alive:
        return run.at_work()
    return Refusal.of(str(run.path), "it holds a run already", "Give another --out")


def _name_now(recipe_name: str) -> str:
    name = f"{datetime.now():{MINUTE_FORMAT}}-{recipe_name}"
    if not NAME.fullmatch(name):
        fix = "Rename the recipe file: letters, digits, dot, dash and underscore, at most 48"
        raise Refusal.of(recipe_name, "no name for a run directory", fix)
    return name


def _make_numbered(path: Path) -> RunDir:
    """Make a folder, with a number behind its name where another run took that name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        numbered = path if count == 1 else path.with_name(f"{path.name}-{count}")
        with contextlib.suppress(FileExistsError):
            numbered.mkdir(mode=0o700)
            break
    return RunDir(numbered)


def _take_empty(run: RunDir) -> None:
    """Make the folder that was asked for, or take it where it is there and empty."""
    if run.exists:
        raise _occupied(run)
    if os.path.exists(run.path) and any(run.path.iterdir()):
        raise Refusal.of(str(run.path), "the folder is not empty", "Give another --out")
    run.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        run.path.chmod(0o700)
    except OSError as error:
        # FAT, CIFS and some FUSE give all files the modes that they were mounted with.
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS} or not _is_own(run.path):
            raise
    try:  # of two that take the same folder at the same time, one gets it
        os.close(os.open(run.recipe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise _occupied(run) from None


def _is_own(folder: Path) -> bool:
    return folder.stat().st_uid == os.geteuid()


def _unmake(run: RunDir, existing: set[Path]) -> None:
    """Remove what was made of a run, up to the folders that were there before."""
    for file in (run.recipe, run.request):
        with contextlib.suppress(OSError):
            file.unlink()
    for folder in (run.path, *run.path.parents):
        if folder in existing:
            return
        with contextlib.suppress(OSError):
            folder.rmdir()


def append_line(
    path: Path, line: bytes, *, is_durable: bool = False, folder_fd: int | None = None
) -> None:
    """Append one line with one write, so that no reader sees two lines glued.

    With `folder_fd` the file lies in that folder, whatever became of its path. Raises `OSError`,
    also where a full disk took a part of it only.
    """
    name = path if folder_fd is None else path.name
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600, dir_fd=folder_fd)
    try:
        if os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if is_durable:
            os.fsync(fd)
    finally:
        os.close(fd)
