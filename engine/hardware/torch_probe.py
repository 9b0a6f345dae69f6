"""The first GPU as torch itself tells it, asked in a process of its own."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.hardware.gpu import Absence, Gpu
from engine.units import GIB

DEADLINE_S = 20.0
NODES = Path("/dev")
_NODES = ("nvidiactl", "dxg", "kfd")
"""NVIDIA's driver, Windows' under WSL, AMD's."""
_ASK = """
import json, torch
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    answer = {
        "name": card.name,
        "memory_bytes": card.total_memory,
        "capability": [card.major, card.minor],
        "arch": getattr(card, "gcnArchName", "") if torch.version.hip else "",
        "is_integrated": bool(getattr(card, "is_integrated", False)),
    }
else:
    is_gpu_build = bool(torch.version.cuda or torch.version.hip)
    answer = {"absence": "sees no GPU" if is_gpu_build else "is built for the CPU only"}
print(json.dumps(answer))
"""


def has_node(nodes: Path = NODES) -> bool:
    """Whether the kernel has a driver of GPUs that torch may know."""
    return any((nodes / name).exists() for name in _NODES)


def find() -> Gpu | Absence:
    """The device that torch calls cuda:0, or why there is none."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _ASK],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        out, complaint = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel, it can't die
            process.wait(timeout=1)
        return Absence(f"torch gave no answer in {DEADLINE_S:.0f} s")
    return _read(out, complaint, process.returncode)


def _read(out: str, complaint: str, code: int) -> Gpu | Absence:
    try:
        return _gpu(json.loads(out.strip().splitlines()[-1]))
    except (ValueError, LookupError, TypeError):
        lines = complaint.strip().splitlines()
        return Absence(f"torch fails: {lines[-1] if lines else f'exit code {code}'}")


def _gpu(told: dict[str, Any]) -> Gpu | Absence:
    if "absence" in told:
        return Absence(f"torch {told['absence']}")
    memory_gib = None if told["is_integrated"] else told["memory_bytes"] / GIB
    major, minor = told["capability"]
    return Gpu(told["name"], memory_gib, (major, minor), arch=told["arch"])
