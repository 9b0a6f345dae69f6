"""The CUDA context that runs on a card were measured to take, kept for its next forecast."""

import contextlib
from pathlib import Path
from typing import Any

from engine import guarded, user_dirs
from engine.atomic import write_json


def key(card: str, driver: str, torch_version: str) -> str:
    """What a measurement holds for."""
    return f"{card} | driver {driver} | torch {torch_version}"


def context_gib(card: str) -> float | None:
    """GiB on the device beyond what PyTorch reserved, in the card's latest measured run.

    None where it was never measured under any driver and PyTorch, or the file is damaged.
    """
    measured = [
        figure
        for name, record in _read().items()
        if name.startswith(f"{card} | ") and (figure := _context_of(record)) is not None
    ]
    return measured[-1] if measured else None


def remember(name: str, context_gib: float) -> None:
    """Keep a measurement; where the folder can't be written to, the next forecast lacks it."""
    records = _read()
    records.pop(name, None)  # the latest stands last
    file = _file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**records, name: {"context_gib": context_gib}})


def _context_of(record: Any) -> float | None:
    value = record.get("context_gib") if isinstance(record, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _file() -> Path:
    return user_dirs.data() / "calibration.json"


def _read() -> dict[str, Any]:
    try:
        records = guarded.json_document(_file())
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}
