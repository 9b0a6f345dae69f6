"""One GPU as its driver or torch tells it, and what its generation can do."""

from dataclasses import dataclass
from typing import Literal

from engine.hardware.nvidia_speed import Speed

Device = Literal["cuda", "mps", "cpu"]
"""PyTorch's names of kinds of devices; AMD's cards are cuda."""
_AMD_FLASH = ("gfx90a", "gfx942", "gfx950")
_AMD_BF16 = (*_AMD_FLASH, "gfx908", "gfx11", "gfx12")
_AMD_WIDE = ("gfx942", "gfx950")
FAST_GROUPS = (9, 10)
"""Majors of compute capabilities with a kernel for grouped products (PyTorch's GroupedBlas.cpp):
Hopper, and Blackwell of data centres, but not the RTX 50 series, which is 12."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device that a run could use."""

    name: str
    memory_gib: float | None
    """None where it has none of its own: it shares the host's."""
    capability: tuple[int, int]
    """NVIDIA's compute capability, as (8, 9)."""
    arch: str = ""
    """AMD's name of the generation, as "gfx942:sramecc+:xnack-"; empty for NVIDIA."""
    visible_as: str = ""
    """What CUDA_VISIBLE_DEVICES calls it: its UUID, or its number where it tells none."""
    free_gib: float | None = None
    """What is free now; None where that is not known."""
    holders: str = ""
    """Other processes that hold memory of it, by name."""
    speed: Speed | None = None
    """None where its driver does not tell."""
    note: str = ""
    """Why it is this one, or what is uncertain about it."""

    @property
    def has_bf16(self) -> bool:
        """Whether bfloat16 arithmetic is native."""
        return self.arch.startswith(_AMD_BF16) if self.arch else self.capability >= (8, 0)

    @property
    def has_flash(self) -> bool:
        """Whether PyTorch has flash attention for it."""
        return self.arch.startswith(_AMD_FLASH) if self.arch else self.capability >= (8, 0)

    @property
    def has_efficient_attention(self) -> bool:
        """Whether PyTorch has its memory-efficient kernel: on AMD's it is AOTriton's, as flash
        attention is, and on Radeon cards both are experimental and off (ROCm's sdp_utils.cpp)."""
        return not self.arch or self.has_flash

    @property
    def has_grouped_mm(self) -> bool:
        """Whether PyTorch has one kernel for products in groups, in bfloat16."""
        return not self.arch and self.capability[0] in FAST_GROUPS

    @property
    def cublas_workspace_bytes(self) -> int:
        """What PyTorch gives each cuBLAS or hipBLAS handle (`parseChosenWorkspaceSize`)."""
        if self.arch:
            return (128 if self.arch.startswith(_AMD_WIDE) else 32) << 20
        return 32 << 20 if self.capability >= (9, 0) else 8_519_680


@dataclass(frozen=True, slots=True)
class Absence:
    """No GPU, and why."""

    reason: str
    is_final: bool = False
    """Whether that is so whoever is asked, as where the environment hides every GPU."""
