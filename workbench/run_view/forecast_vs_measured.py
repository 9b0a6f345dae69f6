"""What was forecast of a run's memory, beside what is measured of it."""

from dataclasses import dataclass
from typing import Any

from engine.events import Memory
from engine.problems import Refusal
from engine.run.rundir import RunDir


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """GiB; None is not known."""

    reserved_gib: float | None = None
    """Taken from an accelerator's driver."""
    host_gib: float | None = None
    """Of the engine's process in host memory."""


def read(run: RunDir) -> MemoryForecast:
    """The forecast that a run was started with; none where its request tells of none."""
    try:
        found: Any = run.read_request().forecast
        return MemoryForecast(
            _number(found["reserved_gib"]["expected"]), _number(found["host_gib"])
        )
    except (Refusal, KeyError, TypeError):
        return MemoryForecast()


def beside(forecast: MemoryForecast, event: Memory | None) -> MemoryForecast:
    """The forecast as the engine told it, as soon as it did."""
    if event is None:
        return forecast
    return MemoryForecast(event.forecast_reserved_gib, event.forecast_host_gib)


def compared(event: Memory) -> str:
    """The memory event in words: of the accelerator where there is one, else of the process."""
    pair = (event.forecast_reserved_gib, event.reserved_gib)
    forecast, measured = (event.forecast_host_gib, event.rss_gib) if pair[1] is None else pair
    if forecast is None:
        return f"measured {measured:.2f} GiB, no forecast"
    return f"forecast {forecast:.2f}, measured {measured:.2f} GiB"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
