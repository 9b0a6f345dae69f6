"""Forecast against measured memory, once the optimizer has its state."""

import os
import threading
from typing import Any

import psutil
import torch

from engine.budget import calibration
from engine.events import Memory
from engine.run.event_log import EventLog

GIB = 1 << 30
_STEP = 2
"""The first step has no optimizer state before it, so the second is the first whole one."""
_NVML_DEADLINE_S = 2.0

Figure = float | None


class MemoryCheck:
    """Tells the difference once in a run, and keeps that of a card for its next forecast."""

    def __init__(self, log: EventLog, request: dict[str, Any]) -> None:
        self._log = log
        self._forecast: dict[str, Any] = request.get("forecast") or {}

    def begin(self) -> None:
        """Forget what loading and the first samples took, which no step needs."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def after(self, step: int) -> None:
        """Write the event after the second step; after others do nothing."""
        if step != _STEP:
            return
        allocated, reserved, device, name = _measured()
        event = Memory(
            step=step,
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
        if name is not None:
            calibration.remember(name, difference(event))

    def _expected(self, figure: str) -> Figure:
        value = self._forecast.get(figure)
        if isinstance(value, dict):
            value = value.get("expected")
        return float(value) if isinstance(value, int | float) else None


def difference(event: Memory) -> calibration.Difference:
    """What a card needed beyond its forecast."""
    has_context = event.device_gib is not None and event.reserved_gib is not None
    return calibration.Difference(
        context_gib=round(event.device_gib - event.reserved_gib, 3)  # type: ignore[operator]
        if has_context
        else None,
        allocated_ratio=_ratio(event.allocated_gib, event.forecast_allocated_gib),
        reserved_ratio=_ratio(event.reserved_gib, event.forecast_reserved_gib),
    )


def _ratio(measured: Figure, forecast: Figure) -> Figure:
    return round(measured / forecast, 4) if measured is not None and forecast else None


def _measured() -> tuple[Figure, Figure, Figure, str | None]:
    """Most allocated and reserved so far, the process's share of the card, and the card's key.

    Without a CUDA device there is nothing to tell: what a CPU run holds is in rss_gib.
    """
    if not torch.cuda.is_available():
        return None, None, None, None
    told = _told_by_driver(str(torch.cuda.get_device_properties().uuid))
    driver, device_bytes = told if told else ("unknown", None)
    return (
        round(torch.cuda.max_memory_allocated() / GIB, 3),
        round(torch.cuda.max_memory_reserved() / GIB, 3),
        round(device_bytes / GIB, 3) if device_bytes else None,
        calibration.key(torch.cuda.get_device_name(), driver, torch.__version__),
    )


def _told_by_driver(uuid: str) -> tuple[str, int | None] | None:
    """The driver's version and this process's bytes on the card; None where it doesn't answer.

    A driver that hangs is left to a thread of its own, and one in a container may not know this
    process's number.
    """
    answers: list[tuple[str, int | None]] = []

    def ask() -> None:
        import pynvml

        pynvml.nvmlInit()
        driver = pynvml.nvmlSystemGetDriverVersion()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        own = [process.usedGpuMemory for process in running if process.pid == os.getpid()]
        answers.append((str(driver), own[0] if own else None))

    def ask_quietly() -> None:
        try:
            ask()
        except Exception:
            return

    thread = threading.Thread(target=ask_quietly, daemon=True)
    thread.start()
    thread.join(_NVML_DEADLINE_S)
    return answers[0] if answers else None
