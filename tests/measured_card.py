"""What a run tells and keeps of a card's memory, under drivers of several kinds; told as JSON.

Run on the pretended card with a made-up driver: `python -m tests.measured_card FOLDER CASES`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from engine import user_dirs
from engine.events import decode
from engine.hardware import card_memory
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.hooks.memory_check import MemoryCheck

STATE: Any = None


def main(folder: Path, cases: list[dict[str, Any]]) -> None:
    """A case is a device, and what the driver says before the run and after its second step."""
    tensors = torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
    kept = user_dirs.data() / "calibration.json"
    for number, case in enumerate(cases):
        run = RunDir(folder / str(number))
        run.path.mkdir(parents=True)
        kept.unlink(missing_ok=True)
        os.environ.update({"FAKE_PID": str(os.getpid()), **case["before"]})
        card_memory.used_before.cache_clear()
        card_memory.used_before()
        os.environ.update(case["after"])
        check = MemoryCheck(EventLog(run), None, case["device"])
        check.on_train_begin(STATE)
        check.tell()
        for name in {**case["before"], **case["after"]}:
            del os.environ[name]
        told: Any = decode(run.events.read_bytes().rstrip())
        figures = [told.allocated_gib, told.reserved_gib, told.device_gib]
        record = json.loads(kept.read_text()) if kept.exists() else {}
        print(json.dumps({"figures": figures, "kept": record}))
    assert tensors.is_cuda


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
