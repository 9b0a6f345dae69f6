"""Forecast against measured memory, once the optimizer has its state."""

import os
from typing import Any

import psutil
import torch

from engine.budget import calibration
from engine.events import Memory
from engine.hardware import nvml
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from engine.units import GIB

_STEP = 2
"""The first step has no optimizer state before it, so the second is the first whole one."""

Figure = float | None


class MemoryCheck(Hook):
    """Tells the difference once in a run, and keeps that of a card for its next forecast."""

    def __init__(self, log: EventLog, forecast: dict[str, Any] | None) -> None:
        self._log = log
        self._forecast = forecast or {}

    def on_train_begin(self, state: TrainingState) -> None:
        """Forget what loading and the first samples took, which no step needs."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Write the event after the second step; after others do nothing."""
        if result.step == _STEP:
            self.tell()

    def tell(self) -> None:
        """Write the event, and remember what the card needed beyond its forecast."""
        allocated, reserved, device, name = _measured()
        event = Memory(
            step=_STEP,
            source=str(self._forecast.get("source", "none")),
            forecast_allocated_gib=self._expected("allocated_gib"),
            forecast_reserved_gib=self._expected("reserved_gib"),
            forecast_device_gib=self._expected("device_gib"),
            forecast_host_gib=self._expected("host_gib"),
            allocated_gib=allocated,
            reserved_gib=reserved,
            device_gib=device,
            rss_gib=round(psutil.Process().memory_info().rss / GIB, 3),
        )
        self._log.append(event)
        context_gib = context_of(event)
        if name is not None and context_gib is not None:
            calibration.remember(name, context_gib)

    def _expected(self, figure: str) -> Figure:
        value = self._forecast.get(figure)
        if isinstance(value, dict):
            value = value.get("expected")
        return float(value) if isinstance(value, int | float) else None


def context_of(event: Memory) -> Figure:
    """GiB on the device beyond what PyTorch reserved; None where the driver can't tell."""
    if event.device_gib is None or event.reserved_gib is None:
        return None
    return round(event.device_gib - event.reserved_gib, 3)


def _measured() -> tuple[Figure, Figure, Figure, str | None]:
    """Most allocated and reserved so far, the process's share of the card, and the card's key.

    Without a CUDA device there is nothing to tell: what a CPU run holds is in rss_gib.
    """
    if not torch.cuda.is_available():
        return None, None, None, None
    uuid = str(torch.cuda.get_device_properties().uuid)
    try:
        driver, device_bytes = nvml.ask(lambda: _driver_and_own_bytes(uuid))
    except nvml.NoAnswer:
        driver, device_bytes = "unknown", None
    return (
        round(torch.cuda.max_memory_allocated() / GIB, 3),
        round(torch.cuda.max_memory_reserved() / GIB, 3),
        round(device_bytes / GIB, 3) if device_bytes else None,
        calibration.key(torch.cuda.get_device_name(), driver, torch.__version__),
    )


def _driver_and_own_bytes(uuid: str) -> tuple[str, int | None]:
    """The driver's version, and this process's bytes on the card.

    A driver in a container may not know this process's number.
    """
    import pynvml

    driver = pynvml.nvmlSystemGetDriverVersion()
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    own = [process.usedGpuMemory for process in running if process.pid == os.getpid()]
    return str(driver), own[0] if own else None
