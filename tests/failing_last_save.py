"""Ends again and again with another file operation failing each time; told as JSON.

With `failing_files.c` preloaded: `python -m tests.failing_last_save LIBRARY FOLDER ERROR STICKS`.
"""

import ctypes
import json
import sys
from pathlib import Path

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from engine.paths import EMBEDDED_WEIGHTS
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.saving import final_adapter
from engine.train.saving.final_adapter import EndFailed
from engine.train.state import TrainingState
from tests import tiny


def main(library: str, folder: Path, error: int, sticks: int) -> None:
    """Until an end does fewer operations than the one that is to fail."""
    failing = ctypes.CDLL(library)
    run = RunDir(folder / "run")
    run.path.mkdir()
    log = EventLog(run)
    trainer = tiny.trainer(tiny.loaded(EMBEDDED_WEIGHTS), tiny.Gradients())
    trainer.train()
    state = trainer.state
    final_adapter.save(run, state, log)
    told: dict[str, int] = {"saved": 0, "saved again": 0, "in the run": 0, "elsewhere": 0}
    operations = n = 0
    while operations >= n:
        n += 1
        before = inode(run)
        with torch.no_grad():
            for tensor in get_peft_model_state_dict(state.model).values():
                tensor.add_(1.0)
        told_before = run.events.stat().st_size if run.events.exists() else 0
        failing.arm(str(run.path).encode(), n, error, sticks)
        place = run.adapter
        try:
            final_adapter.save(run, state, log)
        except EndFailed as failed:
            place = Path(str(failed).removeprefix("what was trained is kept in ").partition(";")[0])
        operations = failing.passed()
        failing.arm(b"", 0, 0, 0)
        assert is_trained(state, place), (n, place)
        if place != run.adapter:
            # What was there is there, or the new one under its name.
            assert inode(run) == before or is_trained(state, run.adapter), n
            told["in the run" if place.is_relative_to(run.path) else "elsewhere"] += 1
        else:
            was_told = run.events.exists() and run.events.stat().st_size > told_before
            told["saved again" if was_told else "saved"] += 1
        assert sticks or not (run.path / ".adapter.part").exists(), n
    print(json.dumps({**told, "operations": n}))


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
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
