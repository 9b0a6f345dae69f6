"""How busy the machine is: its GPU as the driver tells it, host memory, room on the disk."""

import contextlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.hardware.nvml import DEADLINE_S


@dataclass(frozen=True, slots=True)
class GpuMeter:
    """One card; None is what its driver doesn't tell."""

    busy_share: float | None
    used_gib: float | None
    total_gib: float | None
    temperature_c: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class Meters:
    """The machine, now."""

    gpu: GpuMeter | None
    """None where there is no card, or where it is not known which of several is meant."""
    host_used_gib: float
    host_total_gib: float
    disk_free_gib: float


class Gauge:
    """Reads the meters again and again. A driver that once gave no answer is not asked again."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._folder, self._pid = folder, pid
        self._is_answering = True

    def read(self) -> Meters:
        """The meters; takes two seconds at most. Raises `OSError` where the folder is gone."""
        import psutil

        memory = psutil.virtual_memory()
        return Meters(
            self._gpu(),
            (memory.total - memory.available) / 2**30,
            memory.total / 2**30,
            shutil.disk_usage(self._folder).free / 2**30,
        )

    def _gpu(self) -> GpuMeter | None:
        if not self._is_answering:
            return None
        found: list[GpuMeter | None] = []
        thread = threading.Thread(target=_measure, args=(self._pid, found), daemon=True)
        thread.start()
        thread.join(DEADLINE_S)
        self._is_answering = bool(found)
        return found[0] if found else None


def _measure(pid: int, found: list[GpuMeter | None]) -> None:
    """Find the card that a process computes on, or the only one; nothing without a driver."""
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        found.append(_measured(pid))


def _measured(pid: int) -> GpuMeter | None:
    import pynvml

    try:
        cards = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        used = cards if len(cards) == 1 else [card for card in cards if _computes(card, pid)]
        return _meter(used[0]) if len(used) == 1 else None
    except pynvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _computes(card: Any, pid: int) -> bool:
    import pynvml

    processes = _told(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(card)) or []
    return any(process.pid == pid for process in processes)


def _meter(card: Any) -> GpuMeter:
    import pynvml

    memory = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(card))
    busy = _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(card).gpu)
    heat = _told(lambda: pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU))
    power_mw = _told(lambda: pynvml.nvmlDeviceGetPowerUsage(card))
    return GpuMeter(
        None if busy is None else busy / 100,
        memory and memory.used / 2**30,
        memory and memory.total / 2**30,
        heat,
        None if power_mw is None else power_mw / 1000,
    )


def _told(ask: Callable[[], Any]) -> Any:
    """An answer that not every card and driver has."""
    import pynvml

    try:
        return ask()
    except pynvml.NVMLError:
        return None
