"""Hardware profiles, and which of them this machine is."""

import math
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from engine import likeness
from engine.hardware import nvml, torch_probe
from engine.hardware.gpu import Absence, Device, Gpu
from engine.paths import RECIPES
from engine.problems import Refusal
from engine.units import GIB

PROFILES = RECIPES / "hardware"
AUTO = "auto"
_CPU = "cpu"
_APPLE = "apple-m"
_SAME_MEMORY = 0.15
"""How far a card's memory may be from a profile's: drivers and ECC differ, 8 and 12 GB don't."""
_GUESSED_CONTEXT_GIB = 0.5
_WORTH_TELLING_GIB = 0.1
"""Of memory that others hold; a driver's own bookkeeping is less."""
_HOST_SHARE = 0.9
"""Part of the host's memory that a run may fill; the rest is the system's."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a run may use. Where figures come from is said in the files under recipes/hardware."""

    name: str
    title: str
    device: Device
    memory_gib: float
    """All memory of the device as its driver reports it; of the host where they share it."""
    usable_share: float
    """Part of memory_gib that a run may fill; the rest is a display's and the driver's own."""
    has_bf16: bool
    """Whether bfloat16 arithmetic is native."""
    reason: str = ""
    """Why it was chosen, where it was detected."""
    has_flash: bool = False
    """Whether PyTorch has flash attention for it: NVIDIA from compute capability 8.0, MI300X."""
    has_efficient_attention: bool = True
    """Whether it has PyTorch's memory-efficient kernel: all of NVIDIA's, but no Radeon card."""
    has_grouped_mm: bool = False
    """Whether PyTorch has one kernel for products in groups: compute capabilities 9 and 10."""
    context_gib: float = 0.0
    """What the driver takes per process before the first tensor: a guess until calibrated."""
    cublas_workspace_bytes: int = 0
    """What PyTorch gives each cuBLAS handle; 32 MiB from Hopper on; 0 where there is no cuBLAS."""
    host_memory_gib: float = 0.0
    """Memory of the host: measured on this machine, a guess for a named card; 0 if not known."""
    is_unified: bool = False
    """Whether a GPU shares the host's memory, so that memory_gib is the host's."""
    bandwidth_gb_s: float | None = None
    """Memory bandwidth in 10^9 bytes a second; None where nobody can say."""
    tflops: float | None = None
    """Dense 16-bit matrix arithmetic with 32-bit sums, in 10^12 FLOP/s; a CPU's is 32-bit."""
    float32_tflops: float | None = None
    """Matrix arithmetic in float32, in 10^12 FLOP/s; None where it is as fast as in 16 bits."""
    visible_as: str = ""
    """What CUDA_VISIBLE_DEVICES calls the card that was detected."""
    free_gib: float | None = None
    """What was free of its memory then; None where it is not known, as of a named card."""
    holders: str = ""
    """Processes that held some of its memory, by name."""

    why_no_triton: str = ""
    """What Triton failed with on the card that was detected; empty where it works, or unknown."""

    def tflops_in(self, dtype: str) -> float | None:
        """Of a floating type by PyTorch's name; bfloat16 that isn't native goes through float32."""
        is_short = dtype == "float16" or (dtype == "bfloat16" and self.has_bf16)
        return self.tflops if is_short or self.float32_tflops is None else self.float32_tflops

    @property
    def usable_gib(self) -> float:
        """Memory that a run may fill, in GiB: no more than is free."""
        share_gib = self.memory_gib * self.usable_share
        return share_gib if self.free_gib is None else min(share_gib, self.free_gib)

    @property
    def memory_of_others(self) -> str:
        """Who holds memory that a run could fill otherwise; empty where nobody does."""
        others_gib = self.memory_gib * self.usable_share - self.usable_gib
        if others_gib < _WORTH_TELLING_GIB:
            return ""
        return f"{others_gib:.1f} GiB held by {self.holders or 'other processes'}"

    @property
    def host_usable_gib(self) -> float:
        """Host memory that a run may fill; without bound where the host is not known."""
        return self.host_memory_gib * _HOST_SHARE if self.host_memory_gib else math.inf

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the run directory."""
        return asdict(self)


def names() -> list[str]:
    """Names that --hardware takes: this machine, cards by their memory, the CPU."""
    files = {path.stem: _file(path.stem) for path in PROFILES.glob("*.toml")}
    cpu = {_CPU} & files.keys()
    cards = sorted(files.keys() - cpu, key=lambda name: (files[name]["memory_gib"], name))
    return [AUTO, *cards, *cpu]


def profile(name: str) -> Profile:
    """The profile of that name; "auto" is this machine. Raises `Refusal`."""
    if name == AUTO:
        return detect()
    if name not in {path.stem for path in PROFILES.glob("*.toml")}:
        fix = f"{likeness.question(name, names())} gemma-bench hardware lists all".strip()
        raise Refusal.of("--hardware", f"there is no profile {name!r}", fix)
    named = _of_file(name)
    return _with_memory_of_this_machine(named) if named.is_unified else named


def runnable(name: str) -> Profile:
    """The profile of that name where this machine has such a device. Raises `Refusal`."""
    named, here = profile(name), detect()
    if named.device not in {"cpu", here.device}:
        fix = f"Start it there, or use --hardware auto, which is {here.title} here"
        raise Refusal.of("--hardware", f"this machine has no {named.device} device", fix)
    if named.device != "cuda":
        return named
    return replace(named, visible_as=here.visible_as, free_gib=here.free_gib, holders=here.holders)


def detect(nodes: Path = torch_probe.NODES) -> Profile:
    """This machine, with the reason why; `nodes` is where the kernel keeps its device files.

    NVML is asked first. Where it can't tell although there are device files of GPUs, torch is. A
    card that NVML told of is looked for anew each time: another may have more free memory by now.
    """
    first = _detected_once(nodes)
    by_nvml = nvml.find() if first.visible_as else None
    return _of_gpu(by_nvml, "NVML names") if isinstance(by_nvml, Gpu) else first


@cache
def _detected_once(nodes: Path) -> Profile:
    by_nvml = nvml.find()
    if isinstance(by_nvml, Gpu):
        return _of_gpu(by_nvml, "NVML names")
    if by_nvml.is_final or not torch_probe.has_node(nodes):
        return _without_gpu(by_nvml.reason)
    by_torch = torch_probe.find()
    if isinstance(by_torch, Absence):
        return _without_gpu(f"{by_nvml.reason}; {by_torch.reason}")
    return _of_gpu(by_torch, f"{by_nvml.reason}; torch names")


def host_memory_gib() -> float:
    """Memory of the host in GiB."""
    import psutil

    return float(psutil.virtual_memory().total / GIB)


def _file(name: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((PROFILES / f"{name}.toml").read_text())


def _of_file(name: str) -> Profile:
    figures = _file(name)
    figures.pop("driver_names", None)
    if name == _CPU:
        memory_gib, flags = host_memory_gib(), _cpu_flags()
        figures |= {"memory_gib": memory_gib, "host_memory_gib": memory_gib}
        figures["has_bf16"] = not flags.isdisjoint({"amx_bf16", "avx512_bf16", "bf16"})
        figures["tflops"] = round(figures["tflops"] * _cores(), 3)
    return Profile(name=name, **figures)


def _with_memory_of_this_machine(named: Profile) -> Profile:
    """A GPU that shares the host's memory, with this host's where this is such a machine."""
    here = detect()
    if not (here.is_unified and here.device == named.device):
        return named
    return replace(named, memory_gib=here.memory_gib, host_memory_gib=here.memory_gib)


def _of_gpu(gpu: Gpu, teller: str) -> Profile:
    host_gib = host_memory_gib()
    card = _profile_of(gpu)
    is_unified = card.is_unified if card else gpu.memory_gib is None
    memory_gib = host_gib if is_unified or gpu.memory_gib is None else gpu.memory_gib
    shared = ", shared with the host" if is_unified else ""
    fallback = _by_generation(gpu)
    speed = (
        "its speed is unknown" if fallback.tflops is None else "its speed is by cores and clocks"
    )
    figures = (
        f"its other figures are those of the profile {card.name}"
        if card
        else f"no profile has that name and memory, so {speed}"
    )
    reasons = [f"{teller} {gpu.name} with {memory_gib:.1f} GiB{shared}", figures, gpu.note]
    return replace(
        card or fallback,
        name=AUTO,
        title=gpu.name,
        memory_gib=memory_gib,
        host_memory_gib=host_gib,
        reason="; ".join(reason for reason in reasons if reason),
        visible_as=gpu.visible_as,
        free_gib=None if is_unified else gpu.free_gib,
        holders=gpu.holders,
    )


def _profile_of(gpu: Gpu) -> Profile | None:
    """The profile of a card with that name and about that memory."""
    for path in PROFILES.glob("*.toml"):
        if gpu.name in _file(path.stem).get("driver_names", ()):
            card = _of_file(path.stem)
            if card.is_unified or _is_near(gpu.memory_gib, card.memory_gib):
                return card
    return None


def _is_near(memory_gib: float | None, expected_gib: float) -> bool:
    return memory_gib is not None and abs(memory_gib / expected_gib - 1) <= _SAME_MEMORY


def _by_generation(gpu: Gpu) -> Profile:
    """What follows from a card's generation, and from what its driver tells of its speed."""
    is_unified, speed = gpu.memory_gib is None, gpu.speed
    tflops = speed.tflops(gpu.name, gpu.capability) if speed else None
    return Profile(
        AUTO,
        gpu.name,
        "cuda",
        0.0,
        0.85 if is_unified else 0.95,
        gpu.has_bf16,
        has_flash=gpu.has_flash,
        has_efficient_attention=gpu.has_efficient_attention,
        has_grouped_mm=gpu.has_grouped_mm,
        context_gib=_GUESSED_CONTEXT_GIB,
        cublas_workspace_bytes=gpu.cublas_workspace_bytes,
        is_unified=is_unified,
        bandwidth_gb_s=speed.bandwidth_gb_s if speed and tflops else None,
        tflops=tflops,
        float32_tflops=speed.float32_tflops if speed and tflops else None,
    )


def _without_gpu(absence: str) -> Profile:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return _apple_silicon()
    title = f"CPU, {os.cpu_count()} cores"
    return replace(_of_file(_CPU), name=AUTO, title=title, reason=absence)


def _apple_silicon() -> Profile:
    title = _apple_title()
    apple = _of_file(_APPLE)
    reason = "Apple silicon: the GPU shares the host's memory"
    if title not in _file(_APPLE)["driver_names"]:
        apple = replace(apple, bandwidth_gb_s=None, tflops=None)
        reason += "; the speed of this one is unknown"
    memory_gib = host_memory_gib()
    return replace(
        apple,
        name=AUTO,
        title=title,
        memory_gib=memory_gib,
        host_memory_gib=memory_gib,
        reason=reason,
    )


def _apple_title() -> str:
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return "Apple silicon"
    return process.stdout.strip() or "Apple silicon"


def _cores() -> int:
    import psutil

    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def _cpu_flags() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()
