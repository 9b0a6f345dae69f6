"""What a process of its own detects, with drivers and a torch that the tests made up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_DETECT = """
import json, sys
from pathlib import Path
from engine.hardware import profiles
found = profiles.detect(Path(sys.argv[1]))
heavy = [name for name in sys.modules if name.partition(".")[0] == "torch"]
print(json.dumps({**found.as_dict(), "host_gib": profiles.host_memory_gib(), "heavy": heavy}))
"""
_OURS = ("CUDA_", "HIP_", "ROCR_", "FAKE_")


def detected(library: Path, nodes: Path, **variables: str) -> dict[str, Any]:
    """The profile as plain data; `library` is the folder of the driver's library."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    env |= {"LD_LIBRARY_PATH": str(library), **variables}
    done = subprocess.run(
        [sys.executable, "-c", _DETECT, nodes], cwd=ROOT, env=env, capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("heavy") == []
    return found
