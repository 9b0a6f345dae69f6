"""How busy the machine is: its GPU as the driver tells it, host memory, room on the disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.hardware import nvml
from engine.hardware.nvml import optional
from engine.units import GIB


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """One card; None is what its driver doesn't tell."""

    busy_share: float | None
    used_gib: float | None
    total_gib: float | None
    temperature_c: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class HardwareUsage:
    """The machine, now."""

    gpu: GpuUsage | None
    """None where there is no card, or where it is not known which of several is meant."""
    host_used_gib: float
    host_total_gib: float
    disk_free_gib: float


class HardwareMonitor:
    """Reads the meters again and again. A driver that once gave no answer is not asked again."""

    def __init__(self, folder: Path, pid: int) -> None:
        self._folder, self._pid = folder, pid
        self._is_answering = True

    def read(self) -> HardwareUsage:
        """The meters; takes two seconds at most. Raises `OSError` where the folder is gone."""
        import psutil

        memory = psutil.virtual_memory()
        return HardwareUsage(
            self._gpu(),
            (memory.total - memory.available) / GIB,
            memory.total / GIB,
            shutil.disk_usage(self._folder).free / GIB,
        )

    def _gpu(self) -> GpuUsage | None:
        if not self._is_answering:
            return None
        try:
            return nvml.ask(lambda: _meter_of_process(self._pid))
        except nvml.NoAnswer:
            self._is_answering = False
            return None


def _meter_of_process(pid: int) -> GpuUsage | None:
    """The card that a process computes on, or the only one."""
    import pynvml

    try:
        cards = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        used = cards if len(cards) == 1 else [card for card in cards if _computes(card, pid)]
        return _meter(used[0]) if len(used) == 1 else None
    except pynvml.NVMLError:  # of a card, which may come back
        return None


def _computes(card: object, pid: int) -> bool:
    import pynvml

    ask = pynvml.nvmlDeviceGetComputeRunningProcesses
    processes: list[Any] = optional(lambda: ask(card), [])
    return any(process.pid == pid for process in processes)


def _meter(card: object) -> GpuUsage:
    import pynvml

    memory = optional(lambda: pynvml.nvmlDeviceGetMemoryInfo(card), None)
    busy = optional(lambda: pynvml.nvmlDeviceGetUtilizationRates(card).gpu, None)
    heat = optional(
        lambda: pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU), None
    )
    power_mw = optional(lambda: pynvml.nvmlDeviceGetPowerUsage(card), None)
    return GpuUsage(
        None if busy is None else busy / 100,
        memory and memory.used / GIB,
        memory and memory.total / GIB,
        heat,
        None if power_mw is None else power_mw / 1000,
    )
