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
    step = _round_up((greatest - least) / 8)
    return math.floor(least / step + 1e-9) * step, math.ceil(greatest / step - 1e-9) * step


def ticks(low: float, high: float, most: int) -> tuple[list[float], float]:
    """Two to so many round numbers from low to high, and the step that they are multiples of."""
    step = finest = _round_up((high - low) / 8)
    while len(found := _multiples(step, low, high)) > most:
        step = _round_up(step * 1.01)
    return (found, step) if len(found) > 1 else ([low, high], finest)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def label(value: float, high: float, step: float) -> str:
    """A tick's number, with as many decimals as the ticks' step needs."""
    if high < 1e-2 or high >= 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e") if value else "0"
    return f"{value + 0.0:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


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
