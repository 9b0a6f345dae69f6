"""The memory that a step needs, part by part, on the device, in host memory and on disk."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from engine.budget import calibration
from engine.budget.components import PARTS
from engine.budget.ledger import images_and_sampling, persistent
from engine.budget.ledger.step_peak import peak_of_step
from engine.budget.library_kernels import CUBLAS_HANDLES
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma
from engine.hardware.profiles import Profile
from engine.units import GIB

_SLACK_SHARE, _MOST_SLACK_SHARE = 0.11, 0.3
"""Gaps that PyTorch reserves, as a share of what comes and goes within a step: the median and the
ninth tenth of simulated steps replayed with expandable segments (`bench/forecast/reserved.py`)."""
_PASSING = {
    "batch", "checkpoints", "activations", "recomputed layer", "head", "images", "sampling",
    "temporaries",
}  # fmt: skip
_PROCESS_GIB = {"cpu": 0.52, "cuda": 2.5, "mps": 1.5}
"""What an engine that trains holds beside tensors: measured on a CPU, guessed elsewhere."""


class Verdict(StrEnum):
    """Whether it fits, from worst to best; tight where it may not."""

    NO = "no"
    TIGHT = "tight"
    FITS = "fits"


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
    memory_of_others: str = ""
    """Who holds memory of the device that a run could fill otherwise."""

    @property
    def fits(self) -> bool:
        """Whether it is likely to fit."""
        return self.device.expected <= self.usable_gib and self.host_gib <= self.host_usable_gib

    @property
    def verdict(self) -> Verdict:
        """Whether what is likely fits, and at most."""
        if not self.fits:
            return Verdict.NO
        return Verdict.FITS if self.device.high <= self.usable_gib else Verdict.TIGHT

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
            "held": self.memory_of_others,
            "peak_moment": self.peak_moment,
            "rows": [asdict(row) for row in self.rows],
            "fits": self.fits,
            "verdict": self.verdict,
        }


def forecast(gemma: Gemma, step: StepShape, profile: Profile) -> Budget:
    """The ledger's forecast of a step on a profile."""
    parts, moment = _at_the_peak(gemma, step)
    peak_gib = sum(parts.values()) / GIB
    spread = 0.01 if step.gradient_checkpointing else 0.04
    allocated = Band(peak_gib * (1 - spread), peak_gib, peak_gib * (1 + spread))
    reserved, device = allocated, allocated
    rows = {part: parts[part] / GIB for part in PARTS if parts.get(part)}
    if step.device != "cpu":
        passing = sum(size for part, size in parts.items() if part in _PASSING) / GIB
        slack = _SLACK_SHARE * passing
        reserved = _more(allocated, slack, _MOST_SLACK_SHARE * passing)
        context, most_context = _context_gib(profile)
        device = _more(reserved, context, most_context)
        rows |= {"allocator slack": slack, "device context": context}
    return Budget(
        allocated=_rounded(allocated),
        reserved=_rounded(reserved),
        device=_rounded(device),
        usable_gib=profile.usable_gib,
        host_gib=round(_PROCESS_GIB[profile.device] + _on_host(gemma, step, peak_gib, profile), 3),
        host_usable_gib=round(profile.host_usable_gib, 3),
        disk_gib=round(_on_disk(gemma, step), 3),
        peak_moment=moment,
        rows=tuple(Row(part, round(gib, 4), PARTS[part]) for part, gib in rows.items()),
        tables_on_host_gib=round(persistent.tables_on_host(gemma, step) / GIB, 3),
        memory_of_others=profile.memory_of_others,
    )


def _at_the_peak(gemma: Gemma, step: StepShape) -> tuple[dict[str, int], str]:
    """Bytes by part at the highest moment: of the step, or of what is done beside it."""
    peak = peak_of_step(gemma, replace(step, tables_on_host=False))
    parts, moment = peak.parts, peak.moment
    beside = {
        "images": images_and_sampling.images(gemma, step),
        "sampling": images_and_sampling.sampling(gemma, step),
    }
    name, size = max(beside.items(), key=lambda item: item[1])
    if size > peak.size_bytes:
        parts, moment = {name: size}, name
    total = Counter(persistent.on_device(gemma, step))
    total.update(parts)
    if step.device == "cuda":
        total["cuBLAS workspaces"] = CUBLAS_HANDLES * step.cublas_workspace_bytes
    return total, moment


def _context_gib(profile: Profile) -> tuple[float, float]:
    """Likely and at most: as it was measured on the card, else the profile's guess.

    Under other versions of driver or PyTorch it may be as much as where nothing was measured.
    """
    most_guessed = 1.5 * profile.context_gib
    measured = calibration.context(profile.title)
    if measured is None:
        return profile.context_gib, most_guessed
    if measured.is_of_these_versions:
        return measured.gib, measured.gib
    return measured.gib, max(measured.gib, most_guessed)


def _more(band: Band, expected: float, high: float) -> Band:
    """The band with something added: none of it at least, more of it at most."""
    low = band.low + min(expected, high) * 0.5
    return Band(low, band.expected + expected, band.high + high)


def _rounded(band: Band) -> Band:
    return Band(round(band.low, 3), round(band.expected, 3), round(band.high, 3))


def _on_host(gemma: Gemma, step: StepShape, allocated_gib: float, profile: Profile) -> float:
    """GiB beside the process: what was put there on purpose, and all of it on a CPU.

    A mapped table is counted beside a device. Where that is the host itself it takes nothing: its
    pages are the file's, which the system drops and reads again as it needs.
    """
    if profile.device == "cpu" or profile.is_unified:
        return allocated_gib + persistent.paged(gemma, step) / GIB
    return persistent.on_host(gemma, step) / GIB


def _on_disk(gemma: Gemma, step: StepShape) -> float:
    """GiB of the adapter, and of the checkpoints that are kept with their optimizer state."""
    trained = persistent.trained_parameters(gemma, step) * 4
    parts = persistent.on_device(gemma, step)
    state = parts.get("optimizer", 0) + persistent.paged(gemma, step)
    return (trained + step.checkpoints * (trained + state)) / GIB
