"""What a card was measured to need beyond the forecast, kept for the next forecast on it."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import user_dirs


@dataclass(frozen=True, slots=True)
class Difference:
    """One card under one driver and one PyTorch; the latest run's figures."""

    context_gib: float | None
    """On the device beyond what PyTorch reserved: the CUDA context and its libraries."""
    allocated_ratio: float | None
    """Measured allocated memory over forecast."""
    reserved_ratio: float | None
    """Measured reserved memory over forecast."""
    runs: int = 1


def key(card: str, driver: str, torch_version: str) -> str:
    """What a difference holds for."""
    return f"{card} | driver {driver} | torch {torch_version}"


def known(name: str) -> Difference | None:
    """The difference of a card, or None where none was measured; a damaged file holds none."""
    found = _read().get(name)
    try:
        return Difference(**found) if isinstance(found, dict) else None
    except TypeError:
        return None


def of_card(card: str) -> Difference | None:
    """The latest difference of a card under whatever driver and PyTorch."""
    names = [name for name in _read() if name.startswith(f"{card} | ")]
    return known(names[-1]) if names else None


def remember(name: str, measured: Difference) -> None:
    """Keep a difference; a folder that can't be written to costs the next forecast, not the run."""
    before = known(name)
    record = {**asdict(measured), "runs": (before.runs if before else 0) + 1}
    file = _file()
    partial = file.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({**_read(), name: record}, indent=1) + "\n")
        partial.replace(file)


def _file() -> Path:
    return user_dirs.data() / "calibration.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
