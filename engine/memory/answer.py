"""What a simulated step needs, as plain data for whoever asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.case import Case
from engine.memory import parts
from engine.memory.allocator import reserved_bytes
from engine.memory.depth import Cuts, cuts, shortened
from engine.memory.figures import Answer
from engine.memory.step import Simulated, simulate
from engine.memory.tracker import Moment
from engine.memory.versions import versions
from engine.parts import PARTS

GIB = 1 << 30
Bytes = dict[str, float]


@dataclass(frozen=True, slots=True)
class _Depth:
    """What one depth gave: parts at the highest point of each moment, and reserved memory."""

    layers: int
    highs: dict[Moment, Bytes]
    reserved: float
    reserved_native: float
    host: float
    missing: list[str]


def answer(
    config: Any, case: Case, *, whole_depth: bool = False, stop: Callable[[], None] = lambda: None
) -> Answer:
    """Simulate a case, at two shallow depths where that saves time and isn't told to be whole."""
    chosen = None if whole_depth else cuts(config, case)
    if chosen is None:
        return _told(_depth(simulate(config, case, stop), case), "whole")
    short, longer = (
        _depth(simulate(shortened(config, layers), case, stop), case)
        for layers in (chosen.short, chosen.longer)
    )
    return _told(_extended(short, longer, chosen), "extrapolated")


def _depth(simulated: Simulated, case: Case) -> _Depth:
    tracker = simulated.tracker
    sizes = [block.size_bytes for block in tracker.blocks]
    held = parts.held(case)
    reserved, native = (
        reserved_bytes(tracker.trace, sizes, held, expandable=expandable)
        for expandable in (True, False)
    )
    highs: dict[Moment, Bytes] = {
        moment: dict(parts.of_blocks(tracker.live_at(high.position), case))
        for moment, high in tracker.highs.items()
        if moment.doing != "setup"
    }
    if case.device == "cpu":
        reserved = native = 0
    return _Depth(simulated.layers, highs, reserved, native, tracker.host_bytes, simulated.missing)


def _extended(short: _Depth, longer: _Depth, chosen: Cuts) -> _Depth:
    """Every figure grows by as much per layer as from the shorter model to the longer.

    Moments are matched by their distance from either end of the model.
    """
    factor = (chosen.full - longer.layers) / (longer.layers - short.layers)

    def grown(before: float, after: float) -> float:
        return after + factor * (after - before)

    highs: dict[Moment, Bytes] = {}
    for moment, after in longer.highs.items():
        for there, target in _matches(moment, chosen):
            before = short.highs.get(there)
            if before is not None:
                highs[target] = {
                    part: grown(before.get(part, 0), after.get(part, 0)) for part in after
                }
    return _Depth(
        chosen.full,
        highs,
        grown(short.reserved, longer.reserved),
        grown(short.reserved_native, longer.reserved_native),
        grown(short.host, longer.host),
        longer.missing,
    )


def _matches(moment: Moment, chosen: Cuts) -> list[tuple[Moment, Moment]]:
    """A moment of the longer model in the shorter and in the whole one."""
    doing, layer = moment
    if layer is None:
        return [(moment, moment)]
    found = []
    if layer < chosen.from_start:
        found.append((moment, moment))
    before_end = chosen.longer - layer
    if before_end <= chosen.from_end:
        there, target = chosen.short - before_end, chosen.full - before_end
        found.append((Moment(doing, there), Moment(doing, target)))
    return found


def _told(depth: _Depth, kind: str) -> Answer:
    moment, held = max(depth.highs.items(), key=lambda item: sum(item[1].values()))
    allocated = sum(held.values())
    has_reserved = depth.reserved > 0
    return Answer(
        source="simulated",
        depth=kind,
        allocated_gib=_gib(allocated),
        reserved_gib=_gib(max(depth.reserved, allocated)) if has_reserved else None,
        reserved_native_gib=_gib(max(depth.reserved_native, allocated)) if has_reserved else None,
        host_gib=_gib(depth.host),
        peak_moment=parts.told(moment, depth.layers),
        rows=[
            {"part": part, "gib": _gib(held[part]), "why": why}
            for part, why in PARTS.items()
            if held.get(part)
        ],
        seconds=0.0,
        versions=versions(),
        missing=depth.missing,
    )


def _gib(size_bytes: float) -> float:
    return round(size_bytes / GIB, 4)
