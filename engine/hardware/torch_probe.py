"""The first GPU as torch itself tells it, asked in a process of its own."""

from pathlib import Path
from typing import Any

from engine.hardware import probe_process
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
    try:
        return _gpu(probe_process.answer("-c", _ASK, deadline_s=DEADLINE_S))
    except TimeoutError as error:
        return Absence(f"torch {error}")
    except RuntimeError as error:
        return Absence(f"torch fails: {error}")


def _gpu(answer: dict[str, Any]) -> Gpu | Absence:
    if "absence" in answer:
        return Absence(f"torch {answer['absence']}")
    memory_gib = None if answer["is_integrated"] else answer["memory_bytes"] / GIB
    major, minor = answer["capability"]
    return Gpu(answer["name"], memory_gib, (major, minor), arch=answer["arch"])
