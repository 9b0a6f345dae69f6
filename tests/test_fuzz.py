"""Readers of recipes, requests, events, wishes, manifests and endings stand damaged input."""

import subprocess
import sys
from pathlib import Path


def test_damaged_input_is_no_crash() -> None:
    """A fortieth of what `python -m bench.fuzz` does, in a process of its own for its hook."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz", "--inputs", "25000"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("none fell over") == 10
