"""Calm axes: limits and ticks at round numbers, which move only when the data leaves them."""

import math

_MANTISSAS = (1.0, 2.0, 5.0, 10.0)
_MIN_END = 50


def limits(least: float, greatest: float) -> tuple[float, float]:
    """Round limits around the data: 0 is one of them unless the data keeps far from it."""
    if least == greatest:
        least, greatest = min(0.0, 2 * least), max(0.0, 2 * greatest) or 1.0
    if 0 < least < 0.6 * greatest:
        least = 0.0
    if 0.6 * least < greatest < 0:
        greatest = 0.0
    step = _round_up((greatest - least) / 4)
    return math.floor(least / step + 1e-9) * step, math.ceil(greatest / step - 1e-9) * step


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most so many."""
    step = _round_up((high - low) / max(1, most - 1))
    count = math.floor((high - low) / step + 1e-9)
    first = math.ceil(low / step - 1e-9) * step
    return [first + index * step for index in range(count + 1)]


def label(value: float, low: float, high: float) -> str:
    """A tick's number, with as many decimals as the axis needs."""
    span = high - low
    if max(abs(low), abs(high)) < 1e-2:
        return f"{value:.0e}".replace("e-0", "e-") if value else "0"
    if max(abs(low), abs(high)) >= 1e5:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    decimals = max(0, 1 - math.floor(math.log10(span)))
    return f"{value + 0.0:.{min(decimals, 4)}f}"


def end(last_step: int, total_steps: int | None) -> int:
    """Where the axis of steps ends: it doubles as the run goes on, up to the planned end."""
    end = _MIN_END
    while end < last_step:
        end *= 2
    if total_steps is not None and last_step <= total_steps:
        return max(1, min(end, total_steps))
    return end


def _round_up(number: float) -> float:
    if number <= 0 or not math.isfinite(number):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(number))
    return next((m * unit for m in _MANTISSAS if m * unit >= number * (1 - 1e-9)), 10 * unit)
