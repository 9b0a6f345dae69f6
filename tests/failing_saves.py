"""Saves again and again with another file operation failing each time; told as JSON.

Run with `failing_files.c` preloaded: `python -m tests.failing_saves LIBRARY FOLDER ERROR STICKS`.
"""

import ctypes
import json
import sys
from pathlib import Path

from engine.paths import EMBEDDED_WEIGHTS
from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir
from engine.train.saving.checkpoints import Checkpoints
from tests import tiny


def main(library: str, folder: Path, error: int, sticks: int) -> None:
    """Until a save does fewer operations than the one that is to fail."""
    failing = ctypes.CDLL(library)
    run = RunDir(folder)
    trainer = tiny.trainer(tiny.loaded(EMBEDDED_WEIGHTS), tiny.Gradients())
    trainer.train()
    checkpoints = Checkpoints(run, 2, {})
    for _ in range(2):
        trainer.state.progress.step += 2
        checkpoints.save(trainer.state)
    told = {"saved": 0, "refused": 0, "operations": 0}
    n = 0
    while told["operations"] >= n:
        n += 1
        before = [step for step, _ in checkpoint_manifest.folders(run)]
        trainer.state.progress.step += 2
        new = trainer.state.progress.step
        failing.arm(str(run.checkpoints).encode(), n, error, sticks)
        try:
            checkpoints.save(trainer.state)
            was_saved = True
        except OSError:
            was_saved = False
        told["operations"] = failing.passed()
        failing.arm(b"", 0, 0, 0)
        told["saved" if was_saved else "refused"] += 1
        found, rejected = checkpoint_manifest.newest(run)
        assert found is not None, n
        assert rejected == [], (n, rejected)
        assert found.step == new if was_saved else found.step in {new, before[0]}, (n, found)
        whole = [step for step, place in checkpoint_manifest.folders(run) if is_whole(place)]
        assert len(whole) >= 2, (n, whole)
        assert was_saved or set(before) <= set(whole), (n, before, whole)
    # A disk that works again: nothing of all that is left behind.
    trainer.state.progress.step += 2
    checkpoints.save(trainer.state)
    assert len(list(run.checkpoints.iterdir())) == 2, list(run.checkpoints.iterdir())
    print(json.dumps(told))


def is_whole(place: Path) -> bool:
    try:
        checkpoint_manifest.verified(place)
    except (checkpoint_manifest.Invalid, OSError):
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
