"""Forecast against measured memory, once the optimizer has its state."""

from typing import Any

import psutil
import torch

from engine.budget import calibration
from engine.events import Memory
from engine.hardware import card_memory
from engine.run.event_log import EventLog
from engine.train.hooks import device_memory
from engine.train.hooks.device_memory import DeviceMemory, Figure
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from engine.units import GIB

_STEP = 2
"""The first step has no optimizer state before it, so the second is the first whole one."""


class MemoryCheck(Hook):
    """Tells the difference once in a run, and keeps what a card's driver took beside PyTorch."""

    def __init__(self, log: EventLog, forecast: dict[str, Any] | None, device: str) -> None:
        self._log = log
        self._forecast = forecast or {}
        self._device = device

    def on_train_begin(self, state: TrainingState) -> None:
        """Forget what loading and the first samples took, which no step needs."""
        device_memory.forget(self._device)

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Write the event after the second step; after others do nothing."""
        if result.step == _STEP:
            self.tell()

    def tell(self) -> None:
        """Write the event, and remember what the card's driver took."""
        most = device_memory.most(self._device)
        device_gib, card = _of_the_driver(self._device, most)
        event = Memory(
            step=_STEP,
            source=str(self._forecast.get("source", "none")),
            forecast_allocated_gib=self._expected("allocated_gib"),
            forecast_reserved_gib=self._expected("reserved_gib"),
            forecast_device_gib=self._expected("device_gib"),
            forecast_host_gib=self._expected("host_gib"),
            allocated_gib=most.allocated_gib,
            reserved_gib=most.reserved_gib,
            device_gib=device_gib,
            rss_gib=round(psutil.Process().memory_info().rss / GIB, 3),
        )
        self._log.append(event)
        context_gib = context_of(event)
        if card is not None and context_gib is not None:
            calibration.remember(card, context_gib)

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


def _of_the_driver(device: str, most: DeviceMemory) -> tuple[Figure, str | None]:
    """The process's share of the device, and a card's key in the calibration."""
    if device != "cuda":
        # Apple's driver tells what it gave; what a run on a CPU holds is in rss_gib.
        return most.reserved_gib, None
    uuid = str(torch.cuda.get_device_properties().uuid)
    card = card_memory.of_this_process(uuid)
    key = calibration.key(torch.cuda.get_device_name(), card.driver, torch.__version__)
    return None if card.own_bytes is None else round(card.own_bytes / GIB, 3), key
