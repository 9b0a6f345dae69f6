"""The memory that a step needs, part by part, on the device, in host memory and on disk."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from engine.budget import calibration
from engine.budget.components import PARTS
from engine.budget.ledger import images_and_sampling, persistent, sharding
from engine.budget.ledger.step_peak import Peak, highest
from engine.budget.step_shape import StepShape
from engine.gemma.catalog import Gemma
from engine.hardware.profiles import Profile

GIB = 1 << 30
_HANDLES = 2
"""cuBLAS handles: of the forward and of the backward thread."""
_SLACK_SHARE, _MOST_SLACK_SHARE = 0.11, 0.3
"""Gaps that PyTorch reserves, as a share of what comes and goes within a step: the median and the
ninth tenth of simulated steps replayed with expandable segments (`bench/reserved.py`)."""
_PASSING = {
    "batch", "checkpoints", "activations", "recomputed layer", "head", "reference", "images",
    "sampling", "temporaries",
}  # fmt: skip
_PROCESS_GIB = {"cpu": 0.52, "cuda": 2.5, "mps": 1.5}
"""What an engine that trains holds beside tensors: measured on a CPU, guessed elsewhere."""


@dataclass(frozen=True, slots=True)
class Band:
    """GiB: at least, most likely, and at most."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One part at the highest moment."""

    part: str
    gib: float
    why: str


@dataclass(frozen=True, slots=True)
class Budget:
    """A forecast for one device."""

    allocated: Band
    """Held by tensors."""
    reserved: Band
    """Taken from the driver by PyTorch."""
    device: Band
    """What the driver says the process takes."""
    usable_gib: float
    """What a run may fill of the device."""
    host_gib: float
    host_usable_gib: float
    disk_gib: float
    peak_moment: str
    rows: tuple[Row, ...]
    tables_on_host_gib: float = 0.0
    """Of the checkpoint's file, mapped into host memory."""

    @property
    def fits(self) -> bool:
        """Whether it is likely to fit."""
        return self.device.expected <= self.usable_gib and self.host_gib <= self.host_usable_gib

    @property
    def verdict(self) -> str:
        """fits, tight where the upper end would not, or no."""
        if not self.fits:
            return "no"
        return "fits" if self.device.high <= self.usable_gib else "tight"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `gemma-bench budget --json` gives it."""
        return {
            "source": "ledger",
            "allocated_gib": asdict(self.allocated),
            "reserved_gib": asdict(self.reserved),
            "device_gib": asdict(self.device),
            "host_gib": self.host_gib,
            "tables_on_host_gib": self.tables_on_host_gib,
            "disk_gib": self.disk_gib,
            "usable_gib": round(self.usable_gib, 3),
            "peak_moment": self.peak_moment,
            "rows": [asdict(row) for row in self.rows],
            "fits": self.fits,
            "verdict": self.verdict,
        }


def forecast(gemma: Gemma, case: StepShape, profile: Profile) -> Budget:
    """The ledger's forecast of a case on a profile."""
    parts, moment = _at_the_peak(gemma, case)
    allocated = sum(parts.values()) / GIB
    spread = 0.01 if case.gradient_checkpointing else 0.04
    band = Band(*(allocated * factor for factor in (1 - spread, 1.0, 1 + spread)))
    return _around(band, parts, moment, gemma, case, profile)


def _at_the_peak(gemma: Gemma, case: StepShape) -> tuple[dict[str, int], str]:
    """Parts at the highest moment: of the step, or of what is done beside it."""
    standing_parts = persistent.on_device(gemma, case)
    peak = walked(gemma, replace(case, tables_on_host=False))
    parts, moment = peak.parts, peak.moment
    beside = {
        "images": images_and_sampling.images(gemma, case),
        "sampling": images_and_sampling.sampling(gemma, case),
    }
    name, size = max(beside.items(), key=lambda item: item[1])
    if size > peak.size_bytes:
        parts, moment = {name: size}, name
    found = Counter(sharding.shared(standing_parts, case, len(gemma.layers)))
    found.update(parts)
    if case.device == "cuda":
        found["cuBLAS workspaces"] = _HANDLES * case.cublas_workspace_bytes
    return found, moment


@lru_cache(maxsize=16)
def walked(gemma: Gemma, case: StepShape) -> Peak:
    """A step's highest moment, kept for the same step with its tables elsewhere."""
    return highest(gemma, case)


def _around(
    allocated: Band,
    parts: dict[str, int],
    moment: str,
    gemma: Gemma,
    case: StepShape,
    profile: Profile,
) -> Budget:
    """Allocator, context, host and disk around what tensors hold."""
    is_accelerator = case.device != "cpu"
    reserved, device = allocated, allocated
    slack = context = 0.0
    if is_accelerator:
        measured_gib = calibration.context_gib(profile.title)
        passing = sum(size for part, size in parts.items() if part in _PASSING) / GIB
        slack = _SLACK_SHARE * passing
        reserved = _more(allocated, slack, _MOST_SLACK_SHARE * passing)
        context = profile.context_gib if measured_gib is None else measured_gib
        device = _more(reserved, context, context * (1.5 if measured_gib is None else 1.0))
    rows = {part: parts[part] / GIB for part in PARTS if parts.get(part)}
    rows |= {"allocator slack": slack, "device context": context} if is_accelerator else {}
    process = _PROCESS_GIB[profile.device]
    return Budget(
        allocated=_rounded(allocated),
        reserved=_rounded(reserved),
        device=_rounded(device),
        usable_gib=profile.usable_gib,
        host_gib=round(process + _on_host(gemma, case, allocated, profile), 3),
        host_usable_gib=round(profile.host_usable_gib, 3),
        disk_gib=round(_on_disk(gemma, case), 3),
        peak_moment=moment,
        rows=tuple(Row(part, round(gib, 4), PARTS[part]) for part, gib in rows.items()),
        tables_on_host_gib=round(persistent.tables_on_host(gemma, case) / GIB, 3),
    )


def _more(band: Band, expected: float, high: float) -> Band:
    """The band with something added: none of it at least, more of it at most."""
    low = band.low + min(expected, high) * 0.5
    return Band(low, band.expected + expected, band.high + high)


def _rounded(band: Band) -> Band:
    return Band(round(band.low, 3), round(band.expected, 3), round(band.high, 3))


def _on_host(gemma: Gemma, case: StepShape, allocated: Band, profile: Profile) -> float:
    """GiB beside the process: what was put there on purpose, and all of it on a CPU.

    A mapped table is counted beside a device. Where that is the host itself it takes nothing: its
    pages are the file's, which the system drops and reads again as it needs.
    """
    if profile.device == "cpu" or profile.is_unified:
        return allocated.expected + persistent.paged(gemma, case) / GIB
    return persistent.on_host(gemma, case) / GIB


def _on_disk(gemma: Gemma, case: StepShape) -> float:
    """GiB of the adapter, and of the checkpoints that are kept with their optimizer state."""
    trained = persistent.trained_parameters(gemma, case) * 4
    parts = persistent.on_device(gemma, case)
    state = parts.get("optimizer", 0) + persistent.paged(gemma, case)
    return (trained + case.checkpoints * (trained + state)) / GIB
