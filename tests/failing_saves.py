"""Saves again and again with another file operation failing each time; told as JSON.

With `failing_files.c` preloaded: `python -m tests.failing_saves LIBRARY FOLDER`. An operation fails
once, or from then on as where a disk is full; of checkpoints, and of what a run ends with.
"""

import ctypes
import errno
import json
import sys
from collections import Counter
from pathlib import Path

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from engine.paths import EMBEDDED_WEIGHTS
from engine.run import checkpoint_manifest
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.saving import final_adapter
from engine.train.saving.checkpoints import Checkpoints
from engine.train.saving.final_adapter import EndFailed
from engine.train.state import TrainingState
from tests import tiny

WAYS = {"once": (errno.EIO, 0), "for good": (errno.ENOSPC, 1)}


def main(library: str, folder: Path) -> None:
    failing = ctypes.CDLL(library)
    trainer = tiny.trainer(tiny.loaded(EMBEDDED_WEIGHTS), tiny.Gradients())
    trainer.train()
    for way, (error, sticks) in WAYS.items():
        for save in (save_checkpoints, save_at_the_end):
            run = RunDir(folder / f"{save.__name__} {way}")
            run.path.mkdir()
            counts = save(run, trainer.state, failing, error, sticks)
            print(json.dumps({"save": save.__name__, "way": way, "counts": counts}))


def save_checkpoints(
    run: RunDir, state: TrainingState, failing: ctypes.CDLL, error: int, sticks: int
) -> Counter[str]:
    """Until a save does fewer operations than the one that is to fail."""
    checkpoints = Checkpoints(run, 2, {})
    for _ in range(2):
        state.progress.step += 2
        checkpoints.save(state)
    counts: Counter[str] = Counter()
    n = 0
    while counts["operations"] >= n:
        n += 1
        before = [step for step, _ in checkpoint_manifest.folders(run)]
        state.progress.step += 2
        new = state.progress.step
        failing.arm(str(run.checkpoints).encode(), n, error, sticks)
        try:
            checkpoints.save(state)
            was_saved = True
        except OSError:
            was_saved = False
        counts["operations"] = failing.passed()
        failing.arm(b"", 0, 0, 0)
        counts["saved" if was_saved else "refused"] += 1
        found, rejected = checkpoint_manifest.newest(run)
        assert found is not None, n
        assert rejected == [], (n, rejected)
        assert found.step == new if was_saved else found.step in {new, before[0]}, (n, found)
        whole = [step for step, place in checkpoint_manifest.folders(run) if is_whole(place)]
        assert len(whole) >= 2, (n, whole)
        assert was_saved or set(before) <= set(whole), (n, before, whole)
    # A disk that works again: nothing of all that is left behind.
    state.progress.step += 2
    checkpoints.save(state)
    assert len(list(run.checkpoints.iterdir())) == 2, list(run.checkpoints.iterdir())
    return counts


def is_whole(place: Path) -> bool:
    try:
        checkpoint_manifest.verified(place)
    except (checkpoint_manifest.Invalid, OSError):
        return False
    return True


def save_at_the_end(
    run: RunDir, state: TrainingState, failing: ctypes.CDLL, error: int, sticks: int
) -> Counter[str]:
    """Until an end does fewer operations than the one that is to fail."""
    log = EventLog(run)
    final_adapter.save(run, state, log)
    counts: Counter[str] = Counter()
    n = 0
    while counts["operations"] >= n:
        n += 1
        before = inode(run)
        with torch.no_grad():
            for tensor in get_peft_model_state_dict(state.model).values():
                tensor.add_(1.0)
        told_before = run.events_bytes()
        failing.arm(str(run.path).encode(), n, error, sticks)
        place = run.adapter
        try:
            final_adapter.save(run, state, log)
        except EndFailed as failed:
            place = Path(str(failed).removeprefix("what was trained is kept in ").partition(";")[0])
        counts["operations"] = failing.passed()
        failing.arm(b"", 0, 0, 0)
        assert is_trained(state, place), (n, place)
        if place != run.adapter:
            # What was there is there, or the new one under its name.
            assert inode(run) == before or is_trained(state, run.adapter), n
            counts["in the run" if place.is_relative_to(run.path) else "elsewhere"] += 1
        else:
            counts["saved again" if run.events_bytes() > told_before else "saved"] += 1
        assert sticks or not (run.path / ".adapter.part").exists(), n
    return counts


def inode(run: RunDir) -> int:
    """Of the adapter; one that could not be renamed twice has its older name."""
    older = run.path / ".adapter.old"
    return (run.adapter if run.adapter.exists() else older).stat().st_ino


def is_trained(state: TrainingState, place: Path) -> bool:
    """Whether the file's tensors are those of the model."""
    trained = get_peft_model_state_dict(state.model, save_embedding_layers=False)
    saved = load_file(place / "adapter_model.safetensors")
    return set(saved) == set(trained) and all(torch.equal(saved[k], trained[k]) for k in saved)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
