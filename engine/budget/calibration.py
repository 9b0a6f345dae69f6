"""The CUDA context that runs on a card were measured to take, kept for its next forecast."""

import contextlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from engine import guarded, user_dirs
from engine.atomic import write_json
from engine.guarded import Json
from engine.hardware import nvml

_LEAST_GIB, _MOST_GIB = 0.1, 2.0
"""A context beyond these is none: another process came or went meanwhile, or nothing was told."""


class Context(NamedTuple):
    """GiB on the device beyond what PyTorch reserved."""

    gib: float
    is_of_these_versions: bool
    """Whether it was measured under today's driver and PyTorch."""


def key(card: str, driver: str, torch_version: str) -> str:
    """What a measurement holds for."""
    return f"{card} | driver {driver} | torch {torch_version}"


def context(card: str) -> Context | None:
    """Of the card's latest measured run under today's versions, else under others.

    None where it was never measured, or the file is damaged.
    """
    measured = {
        name: figure
        for name, record in _read().items()
        if name.startswith(f"{card} | ") and (figure := _context_of(record)) is not None
    }
    if not measured:
        return None
    today = key(card, _driver(), metadata.version("torch"))
    if today in measured:
        return Context(measured[today], is_of_these_versions=True)
    return Context([*measured.values()][-1], is_of_these_versions=False)


def problem() -> str:
    """What is wrong with the file of measurements, in words; empty where all of it can be used."""
    file = _file()
    try:
        records = guarded.json_document(file)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"{file} can't be read: {error}"
    if not isinstance(records, dict):
        return f"{file} holds no measurements"
    useless = [name for name, record in records.items() if _context_of(record) is None]
    return f"{file} holds no context of {', '.join(useless)}" if useless else ""


def remember(name: str, context_gib: float) -> None:
    """Keep a measurement, unless it can be none.

    Where the folder can't be written to, the next forecast lacks it.
    """
    if not _LEAST_GIB <= context_gib <= _MOST_GIB:
        return
    records = _read()
    records.pop(name, None)  # the latest stands last
    file = _file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**records, name: {"context_gib": context_gib}})


def _context_of(record: Json) -> float | None:
    value: Any = record.get("context_gib") if isinstance(record, dict) else None
    if type(value) not in (int, float) or not _LEAST_GIB <= value <= _MOST_GIB:
        return None
    return float(value)


_driver = cache(nvml.driver_version)


def _file() -> Path:
    return user_dirs.data() / "calibration.json"


def _read() -> dict[str, Any]:
    try:
        records = guarded.json_document(_file())
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}
