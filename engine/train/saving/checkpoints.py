"""Checkpoints of a run: written beside, whole before they get their name, kept by step."""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from engine.atomic import sync_folder
from engine.run import checkpoint_manifest, failpoint
from engine.run.rundir import RunDir
from engine.train import state as training
from engine.train.state import TrainingState

_SPARE = 2
"""Free space that is asked for, as a multiple of what a checkpoint takes."""
_STATE_BYTES = {
    "adamw_torch": 8, "paged_adamw_32bit": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "sgd": 0,
}  # fmt: skip
"""Of an optimizer, for each trained parameter: two moments in 32 or in 8 bits, or none."""


class Checkpoints:
    """The checkpoints of one run, each with the facts that the next engine compares."""

    def __init__(self, run: RunDir, limit: int, facts: dict[str, Any]) -> None:
        self._run = run
        self._limit = limit
        self._facts = facts
        self.folder = run.checkpoints
        self._staging = self.folder / ".partial"
        self._make_folder()

    def _make_folder(self) -> None:
        """Not what lies above it: a run that was removed is not to be made anew."""
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def save(self, state: TrainingState) -> str:
        """Write where training stands; its path within the run.

        Raises `OSError` where the disk won't take it; the older checkpoints are whole then, and
        nothing of the new one is left.
        """
        step = state.progress.step
        try:
            self._check_space()
            shutil.rmtree(self._staging, ignore_errors=True)
            self._make_folder()
            self._staging.mkdir(mode=0o700)
            failpoint.reached("checkpoint.begun")
            with numbered_disk_errors(), path_of_this(self._staging) as staging:
                state.model.save_pretrained(staging)
                failpoint.reached("checkpoint.adapter")
                training.save(state, self._staging)
                failpoint.reached("checkpoint.state")
            checkpoint_manifest.write(self._staging, step, self._facts)
            failpoint.reached("checkpoint.written")
            final = self._publish(step)
        except BaseException:
            shutil.rmtree(self._staging, ignore_errors=True)
            raise
        # What can't be removed now is told by nothing but the disk, and removed by the next save.
        with contextlib.suppress(OSError):
            self._rotate(step)
        return str(final.relative_to(self._run.path))

    def _publish(self, step: int) -> Path:
        final = self._run.checkpoint(step)
        if final.exists():
            # A run that was resumed from an older one found this one broken.
            shutil.rmtree(final)
        failpoint.reached("checkpoint.named")
        self._staging.rename(final)
        sync_folder(final.parent)
        return final

    def _rotate(self, step: int) -> None:
        """Remove the oldest. Newer ones than this are broken, and do not count."""
        older = [folder for at, folder in checkpoint_manifest.folders(self._run) if at <= step]
        for folder in older[self._limit :]:
            failpoint.reached("checkpoint.rotated")
            # Without its manifest it is no checkpoint any more, however much of it goes.
            (folder / checkpoint_manifest.NAME).unlink(missing_ok=True)
            shutil.rmtree(folder)

    def require_room(self, state: TrainingState) -> None:
        """Raises `OSError` where the disk has no room for the first checkpoint."""
        state_bytes = _STATE_BYTES[state.training.optim]
        trained = [p for p in state.model.parameters() if p.requires_grad]
        self._require(sum(p.numel() * (p.element_size() + state_bytes) for p in trained))

    def _check_space(self) -> None:
        for _, folder in checkpoint_manifest.folders(self._run)[:1]:
            self._require(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))

    def _require(self, checkpoint_bytes: int) -> None:
        if shutil.disk_usage(self._run.path).free < _SPARE * checkpoint_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))


@contextmanager
def path_of_this(folder: Path) -> Iterator[str]:
    """Name the folder by its open descriptor, where the system can.

    PEFT makes the folder that it saves into, and all above it: by its path, those of a run that was
    removed a moment ago.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_descriptor = f"/proc/self/fd/{fd}"
        yield by_descriptor if os.path.isdir(by_descriptor) else str(folder)
    finally:
        os.close(fd)


_NUMBER = re.compile(r"os error (\d+)")


@contextmanager
def numbered_disk_errors() -> Iterator[None]:
    """Safetensors tells an error of the disk in words alone, its number among them (Rust's)."""
    try:
        yield
    except SafetensorError as error:
        match = _NUMBER.search(str(error))
        number = int(match[1]) if match else errno.EIO
        raise OSError(number, os.strerror(number)) from None
