"""What a simulated step needs, part by part."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from engine.budget.components import PARTS
from engine.budget.step_shape import StepShape
from engine.units import GIB
from tools.simulator.allocator import reserved_bytes
from tools.simulator.components import library_blocks, moment_text, of_blocks
from tools.simulator.depth import Cuts, cuts, shortened
from tools.simulator.step import Simulated, simulate
from tools.simulator.tracker import High, Moment

Bytes = dict[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """Memory of a simulated step, in GiB."""

    depth: str
    """whole, or extrapolated from two shallow models."""
    allocated_gib: float
    reserved_gib: float | None
    """With expandable segments; None on a CPU."""
    reserved_native_gib: float | None
    """Without them."""
    host_gib: float
    """Held in host memory for the model: tables, paged optimizer state."""
    peak_moment: str
    rows: list[dict[str, Any]]
    missing: list[str]
    """Private functions of the packages that were to be replaced and are not there."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Peak:
    """The highest point of a step by part, and what else is told of it."""

    layers: int
    moment: Moment
    parts: Bytes
    reserved: float
    reserved_native: float
    host: float
    missing: list[str]


def answer(
    config: Any,
    case: StepShape,
    *,
    whole_depth: bool = False,
    stop: Callable[[], None] = lambda: None,
) -> Answer:
    """Simulate a case, at two shallow depths where that saves time and isn't told to be whole."""
    shallow = None if whole_depth else cuts(config, case)
    if shallow is not None:
        short, longer = (
            simulate(shortened(config, layers), case, stop)
            for layers in (shallow.short, shallow.longer)
        )
        if peak := _extended(short, longer, shallow, case):
            return _answer(peak, "extrapolated")
    return _answer(_whole(simulate(config, case, stop), case), "whole")


def _whole(simulated: Simulated, case: StepShape) -> _Peak:
    tracker = simulated.tracker
    moment, high = tracker.high()
    reserved, native = _reserved(simulated, case)
    parts = _parts(simulated, high, case)
    host = tracker.host_bytes
    return _Peak(simulated.layers, moment, parts, reserved, native, host, simulated.missing)


def _parts(simulated: Simulated, point: High, case: StepShape) -> Bytes:
    return dict(of_blocks(simulated.tracker.live_at(point.position), case))


def _reserved(simulated: Simulated, case: StepShape) -> tuple[float, float]:
    """With expandable segments, and without; none on a CPU, which has another allocator."""
    if case.device == "cpu":
        return 0, 0
    tracker = simulated.tracker
    sizes = [block.size_bytes for block in tracker.blocks]
    expanding, native = (
        reserved_bytes(tracker.trace, sizes, library_blocks(case), expandable=expandable)
        for expandable in (True, False)
    )
    return expanding, native


def _extended(short: Simulated, longer: Simulated, shallow: Cuts, case: StepShape) -> _Peak | None:
    """Every point of a step grows by as much per layer as from the shorter model to the longer.

    Moments are matched by their distance from either end of the model, and points by their number
    within the moment. None where the two models don't do the same in a moment.
    """
    factor = (shallow.full - longer.layers) / (longer.layers - short.layers)

    def grown(before: float, after: float) -> float:
        return after + factor * (after - before)

    best: tuple[float, Moment, High, High] | None = None
    for moment, after in longer.tracker.curves.items():
        for there, target in _matches(moment, shallow) if moment.doing != "setup" else []:
            before = short.tracker.curves.get(there, [])
            if moment.layer is None:  # the optimizer's step makes blocks for every tensor
                before, after = [max(before)], [max(after)]
            if len(before) != len(after):
                return None
            for low, high in zip(before, after, strict=True):
                size = grown(low.allocated_bytes, high.allocated_bytes)
                if best is None or size > best[0]:
                    best = size, target, low, high
    assert best is not None
    _, target, low, high = best
    first, second = _parts(short, low, case), _parts(longer, high, case)
    parts = {part: grown(first.get(part, 0), second[part]) for part in second}
    reserved = [
        grown(before, after)
        for before, after in zip(_reserved(short, case), _reserved(longer, case), strict=True)
    ]
    host = grown(short.tracker.host_bytes, longer.tracker.host_bytes)
    return _Peak(shallow.full, target, parts, reserved[0], reserved[1], host, longer.missing)


def _matches(moment: Moment, shallow: Cuts) -> list[tuple[Moment, Moment]]:
    """A moment of the longer model in the shorter and in the whole one."""
    doing, layer = moment
    if layer is None:
        return [(moment, moment)]
    matches = []
    if layer < shallow.from_start:
        matches.append((moment, moment))
    before_end = shallow.longer - layer
    if before_end <= shallow.from_end:
        there, target = shallow.short - before_end, shallow.full - before_end
        matches.append((Moment(doing, there), Moment(doing, target)))
    return matches


def _answer(peak: _Peak, depth: str) -> Answer:
    allocated = sum(peak.parts.values())
    has_reserved = peak.reserved > 0
    return Answer(
        depth=depth,
        allocated_gib=_gib(allocated),
        reserved_gib=_gib(max(peak.reserved, allocated)) if has_reserved else None,
        reserved_native_gib=_gib(max(peak.reserved_native, allocated)) if has_reserved else None,
        host_gib=_gib(peak.host),
        peak_moment=moment_text(peak.moment, peak.layers),
        rows=[
            {"part": part, "gib": _gib(peak.parts[part]), "why": why}
            for part, why in PARTS.items()
            if peak.parts.get(part)
        ],
        missing=peak.missing,
    )


def _gib(size_bytes: float) -> float:
    return round(size_bytes / GIB, 4)
