"""Bytes on NVIDIA's cards as their driver tells them: of one process, and of all together."""

import os
from functools import cache
from typing import NamedTuple

from engine.hardware import nvml
from engine.hardware.nvml import optional


class CardMemory(NamedTuple):
    """One card; None is what its driver doesn't tell."""

    driver: str
    own_bytes: int | None
    """Of this process."""


def of_this_process(uuid: str) -> CardMemory:
    """What this process takes of a card, by the card's UUID without its prefix.

    A driver in a container or under WSL doesn't know the process. What the card holds more than
    `used_before` then is taken for its own, whoever's it is.
    """
    try:
        driver, own_bytes, used_bytes = nvml.ask(lambda: _read(uuid))
    except nvml.NoAnswer:
        return CardMemory("unknown", None)
    if own_bytes is None and used_bytes is not None and uuid in used_before():
        own_bytes = max(0, used_bytes - used_before()[uuid])
    return CardMemory(driver, own_bytes or None)


@cache
def used_before() -> dict[str, int]:
    """Bytes that all processes held of each card, by UUID; to be asked ahead of CUDA's first use.

    Empty where no driver answers.
    """
    try:
        return nvml.ask(_used_by_uuid)
    except nvml.NoAnswer:
        return {}


def _used_by_uuid() -> dict[str, int]:
    import pynvml

    cards = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
    by_uuid = {pynvml.nvmlDeviceGetUUID(card): _used(card) for card in cards}
    return {_plain(uuid): used for uuid, used in by_uuid.items() if used is not None}


def _read(uuid: str) -> tuple[str, int | None, int | None]:
    import pynvml

    card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    ask = pynvml.nvmlDeviceGetComputeRunningProcesses
    own = [one.usedGpuMemory for one in optional(lambda: ask(card), []) if one.pid == os.getpid()]
    return str(pynvml.nvmlSystemGetDriverVersion()), own[0] if own else None, _used(card)


def _used(card: object) -> int | None:
    import pynvml

    used: int | None = optional(lambda: int(pynvml.nvmlDeviceGetMemoryInfo(card).used), None)
    return used


def _plain(uuid: str) -> str:
    return uuid.removeprefix("GPU-")
