"""Calm axes: limits and ticks at round numbers, which move only when the data leaves them."""

import math
from dataclasses import dataclass

_MANTISSAS = (1.0, 2.0, 5.0, 10.0)
_MIN_END = 50
_MOST_FINE_DECADES = 2
"""Over more decades than these, twos and fives between the tens would crowd."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value stands between the axis's ends."""

    low: float
    high: float
    is_log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values beyond an end count as that end."""
        within = max(self.low, min(self.high, value))
        if self.is_log:
            return math.log(within / self.low) / math.log(self.high / self.low)
        return (within - self.low) / (self.high - self.low)

    def labels(self, most: int) -> list[tuple[float, str]]:
        """Two to so many round numbers from low to high, each with its text."""
        if self.is_log:
            return [(tick, _short(tick)) for tick in _log_ticks(self.low, self.high, most)]
        values, step = ticks(self.low, self.high, most)
        return [(tick, label(tick, self.high, step)) for tick in values]


def scale(least: float, greatest: float, *, is_log: bool = False) -> Scale:
    """Round limits around the data; logarithmic only where all of it is above 0."""
    if is_log and least > 0:
        return Scale(*_log_limits(least, greatest), is_log=True)
    return Scale(*limits(least, greatest))


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
    while len(values := _multiples(step, low, high)) > most:
        step = _round_up(step * 1.01)
    return (values, step) if len(values) > 1 else ([low, high], finest)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_limits(least: float, greatest: float) -> tuple[float, float]:
    low, high = _round_down(least), _round_up(greatest)
    return (low / 2, high * 2) if low == high else (low, high)


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    mantissas = _MANTISSAS[:3] if last - first <= _MOST_FINE_DECADES else _MANTISSAS[:1]
    values = [m * 10.0**power for power in range(first, last + 1) for m in mantissas]
    inside = [tick for tick in values if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    stride = -(-len(inside) // max(2, most))
    return inside[::stride] if len(inside) > 1 else [low, high]


def label(value: float, high: float, step: float) -> str:
    """A tick's number, with as many decimals as the ticks' step needs."""
    if high < 1e-2 or high >= 1e5:
        return _short(value)
    return f"{value + 0.0:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _short(value: float) -> str:
    if not value or 1e-2 <= abs(value) < 1e5:
        return f"{value:g}"
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


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


def _round_down(number: float) -> float:
    unit = 10.0 ** math.floor(math.log10(number) + 1e-9)
    return next(m * unit for m in reversed(_MANTISSAS) if m * unit <= number * (1 + 1e-9))
