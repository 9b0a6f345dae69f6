"""The manifest of a checkpoint, written last: each file's size and SHA-256."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from engine import guarded
from engine.atomic import sync_folder, write_json
from engine.events import Resumed
from engine.problems import Refusal
from engine.run import failpoint
from engine.run.rundir import RunDir

NAME = "manifest.json"
SCHEMA_VERSION = 1
_FOLDER = re.compile(r"step-(\d{6,})")
_PIECE_BYTES = 1 << 20


class Invalid(Exception):
    """A folder is no checkpoint to go on from; says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files are those that were written."""

    folder: Path
    step: int
    facts: dict[str, Any]
    """What the run was when it was written, to be compared with what it is."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A checkpoint that is not gone on from."""

    name: str
    reason: str


def write(folder: Path, step: int, facts: dict[str, Any]) -> None:
    """Write down what the folder holds, once all of it is on the disk."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = _digest(file)
            os.fsync(file.fileno())
        relative = path.relative_to(folder).as_posix()
        files[relative] = {"bytes": path.stat().st_size, "sha256": digest}
    failpoint.reached("checkpoint.hashed")
    document = {"schema": SCHEMA_VERSION, "step": step, "files": files, "facts": facts}
    write_json(folder / NAME, {**document, "sha256": seal(document)})
    sync_folder(folder)


def verified(folder: Path) -> Checkpoint:
    """Read a checkpoint to its last byte. Raises `Invalid`."""
    step, files, facts = _read(folder)
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path.name != NAME
    }
    for name, written in files.items():
        path = folder / name
        if name not in present or not path.is_file() or path.is_symlink():
            raise Invalid(f"{name} is missing")
        size = path.stat().st_size
        if size != written["bytes"]:
            raise Invalid(f"{name} has {size} bytes where {written['bytes']} were written")
        with path.open("rb") as file:
            if _digest(file) != written["sha256"]:
                raise Invalid(f"{name} is not what was written: its SHA-256 differs")
    if added := present - set(files):
        raise Invalid(f"{min(added)} was not there when it was written")
    return Checkpoint(folder, step, facts)


def folders(run: RunDir) -> list[tuple[int, Path]]:
    """Step and folder of what looks like a checkpoint, the newest first."""
    try:
        names = os.listdir(run.checkpoints)
    except OSError:
        return []
    named = ((_FOLDER.fullmatch(name), run.checkpoints / name) for name in names)
    return sorted(((int(m[1]), path) for m, path in named if m and path.is_dir()), reverse=True)


def newest(run: RunDir) -> tuple[Checkpoint | None, list[Rejected]]:
    """Find the newest checkpoint that is whole, and the newer ones that are not."""
    rejected: list[Rejected] = []
    for step, folder in folders(run):
        try:
            checkpoint = verified(folder)
            if checkpoint.step != step:
                raise Invalid(f"its manifest is of step {checkpoint.step}")
            return checkpoint, rejected
        except (Invalid, OSError) as error:
            rejected.append(Rejected(folder.name, str(error)))
    return None, rejected


def require_newest(run: RunDir) -> tuple[Checkpoint, list[Rejected]]:
    """Find them as `newest` does. Raises `Refusal` where there is nothing to go on from."""
    checkpoint, rejected = newest(run)
    if checkpoint is None:
        reasons = "; ".join(f"{folder.name}: {folder.reason}" for folder in rejected)
        reason = "none of its checkpoints is whole: " if reasons else "it has no checkpoint"
        fix = "Start another run of its recipe"
        raise Refusal.of(str(run.path), reason + reasons, fix, key="checkpoints")
    return checkpoint, rejected


def resumed(
    run: RunDir,
    start: Checkpoint,
    rejected: list[Rejected],
    exactness: str,
    parent: str | None = None,
) -> Resumed:
    """Make the event that a run goes on from a checkpoint."""
    return Resumed(
        step=start.step,
        path=str(start.folder.relative_to(run.path)),
        rejected={folder.name: folder.reason for folder in rejected},
        exactness=exactness,
        parent=parent,
    )


def _read(folder: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    try:
        document = guarded.json_document(folder / NAME)
        is_sealed = isinstance(document, dict) and document.pop("sha256", "") == seal(document)
    except FileNotFoundError:
        raise Invalid(f"it has no {NAME}: its save did not end") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"{NAME} can't be read: {guarded.reason(error)}") from None
    if not is_sealed:
        raise Invalid(f"{NAME} is not what was written: its own SHA-256 differs")
    if document.get("schema") != SCHEMA_VERSION:
        raise Invalid(f"{NAME} is not of schema {SCHEMA_VERSION}")
    step, files, facts = (document.get(key) for key in ("step", "files", "facts"))
    entries = files.values() if isinstance(files, dict) else [None]
    are_sound = all(isinstance(file, dict) and {"bytes", "sha256"} <= set(file) for file in entries)
    if type(step) is not int or not isinstance(facts, dict) or not are_sound:
        raise Invalid(f"{NAME} is not as one is written")
    return step, files, facts


def seal(document: dict[str, Any]) -> str:
    """SHA-256 of a manifest without it, as JSON with its keys in order."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()
