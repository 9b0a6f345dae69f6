"""The adapter that a run ends with: in the run, or wherever else what was trained can be kept."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import user_dirs
from engine.atomic import sync_folder
from engine.events import Warned
from engine.model.protocols import AdaptedModel
from engine.run import checkpoint_manifest, disk, failpoint
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.saving.checkpoints import numbered_disk_errors, path_of_this
from engine.train.state import TrainingState

_BESIDE_TENSORS_BYTES = 1 << 17
"""Of an adapter's configuration and the description that PEFT writes beside it."""


class EndFailed(Exception):
    """A run failed after it had trained; says where that lies, and the error that is its cause."""

    def __init__(self, error: BaseException, place: Path | None) -> None:
        what = f"what was trained is kept in {place}" if place else "what was trained is lost"
        super().__init__(f"{what}; {str(error) or type(error).__name__}")


@contextmanager
def room_for_adapter(
    run: RunDir, state: TrainingState, log: EventLog
) -> Iterator[Callable[[], None]]:
    """Keep room for the adapter that a run ends with, until what is given is called.

    However full the disk gets meanwhile, what was trained can be saved. Where there is no room to
    begin with, that is told.
    """
    trained = (p for p in state.model.parameters() if p.requires_grad)
    num_bytes = sum(p.numel() * p.element_size() for p in trained)
    try:
        reserve = disk.Reserve(run.path, num_bytes + _BESIDE_TENSORS_BYTES)
    except OSError as error:
        cause = disk.cause(error, run.path) if error.errno in disk.FULL else str(error)
        message = f"there is no room for the adapter that the run is to end with: {cause}"
        fix = "Free space on the disk of the run before it ends"
        log.append(Warned(code="no_room_for_adapter", message=message, fix=fix))
        yield lambda: None
        return
    try:
        yield reserve.release
    finally:
        reserve.release()


def save(run: RunDir, state: TrainingState, log: EventLog) -> None:
    """Write the adapter into the run, in a second try where the first one fails.

    Raises `EndFailed` where both do, and the error itself where there is no run any more.
    """
    try:
        save_adapter(run, state.model)
    except Exception as error:
        if not run.path.exists():
            raise
        failure = str(error)
    else:
        return
    try:
        save_adapter(run, state.model)
    except Exception as error:
        raise EndFailed(error, rescue(run, state)) from error
    message = f"the adapter was saved in a second try; the first one failed: {failure}"
    fix = "See whether the disk of the run is sound"
    log.append(Warned(code="adapter_saved_again", message=message, fix=fix))


def rescue(run: RunDir, state: TrainingState) -> Path | None:
    """Keep what was trained where there is a place for it; None where there is none.

    That is the step's checkpoint, where it is whole; else a folder in the run, among the user's
    data, or in the one for temporary files.
    """
    with suppress(checkpoint_manifest.Invalid, OSError):
        return checkpoint_manifest.verified(run.checkpoint(state.progress.step)).folder
    name = f"adapter-step-{state.progress.step:06d}"
    for make in (_made_in_run, _made_in_data, _made_in_temporary):
        with suppress(Exception):
            return _written(make(run, name), state.model)
    return None


def _made_in_run(run: RunDir, name: str) -> Path:
    folder = run.path / name
    shutil.rmtree(folder, ignore_errors=True)  # of a try before this one
    folder.mkdir(mode=0o700)
    return folder


def _made_in_data(run: RunDir, name: str) -> Path:
    data = user_dirs.data() / "adapters"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{run.name}-{name}-", dir=data))


def _made_in_temporary(run: RunDir, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"gemma-bench-{run.name}-{name}-"))


def save_adapter(run: RunDir, model: AdaptedModel) -> None:
    """Write the adapter into the run, whole or not at all; one that is there goes or stays so."""
    partial, older = (
        run.adapter.with_name(f".{run.adapter.name}.{end}") for end in ("part", "old")
    )
    _restore(older, run.adapter)
    for left in (partial, older):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(mode=0o700)
    _written(partial, model)
    failpoint.reached("adapter.written")
    if run.adapter.exists():
        run.adapter.rename(older)
    try:
        partial.rename(run.adapter)
    except OSError:
        _restore(older, run.adapter)
        raise
    sync_folder(run.path)
    shutil.rmtree(older, ignore_errors=True)


def _restore(older: Path, adapter: Path) -> None:
    """Give the adapter before its name back, where the new one did not come to have it."""
    if older.exists() and not adapter.exists():
        older.rename(adapter)


def _written(folder: Path, model: AdaptedModel) -> Path:
    """Write the adapter into a folder and see it on the disk; on an error nothing is left of it."""
    try:
        with numbered_disk_errors(), path_of_this(folder) as path:
            model.save_pretrained(path)
        for written in folder.rglob("*"):
            if written.is_file():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
