"""Hardware profiles, and which of them this machine is."""

import os
import platform
import threading
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine.recipe_files import RECIPES
from engine.refusal import refuse

PROFILES = RECIPES / "hardware"
AUTO = "auto"
_NVML_DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What a run may use."""

    name: str
    title: str
    device: str
    """cuda, mps or cpu."""
    memory_gib: float
    """Memory of the device; of the host where they share it."""
    usable_share: float
    """Part of memory_gib that a run may fill; the rest is the system's and the context's."""
    has_bf16: bool
    """Whether bfloat16 arithmetic is native."""
    reason: str = ""
    """Why it was chosen, where it was detected."""

    @property
    def usable_gib(self) -> float:
        """Memory that a run may fill, in GiB."""
        return self.memory_gib * self.usable_share

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the run directory."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA device as its driver tells it."""

    name: str
    memory_gib: float
    has_bf16: bool
    is_unified: bool = False
    """Whether it shares the host's memory, so that memory_gib is the host's."""


def names() -> list[str]:
    """Names that --hardware takes."""
    return [AUTO, *sorted(path.stem for path in PROFILES.glob("*.toml"))]


def profile(name: str) -> Profile:
    """The profile of that name; "auto" is this machine. Raises `Refusal`."""
    if name == AUTO:
        return detect()
    if name not in names():
        fix = f"Known names: {', '.join(names())}"
        raise refuse("--hardware", f"there is no profile {name!r}", fix)
    given = tomllib.loads((PROFILES / f"{name}.toml").read_text())
    if name == "cpu":
        given["memory_gib"] = host_memory_gib()
    return Profile(name=name, **given)


def runnable(name: str) -> Profile:
    """The profile of that name where this machine has such a device. Raises `Refusal`."""
    chosen = profile(name)
    found = detect()
    if chosen.device not in {"cpu", found.device}:
        fix = f"Start it there, or use --hardware auto, which is {found.title} here"
        raise refuse("--hardware", f"this machine has no {chosen.device} device", fix)
    return chosen


@cache
def detect() -> Profile:
    """This machine, with the reason why."""
    gpus, absence = nvidia_gpus()
    if gpus:
        gpu = gpus[0]
        reason = f"NVML names {gpu.name} with {gpu.memory_gib:.1f} GiB"
        reason += ", shared with the host" if gpu.is_unified else ""
        share = 0.85 if gpu.is_unified else 0.95
        return Profile(AUTO, gpu.name, "cuda", gpu.memory_gib, share, gpu.has_bf16, reason)
    memory_gib = host_memory_gib()
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        reason = "Apple silicon: the GPU shares the host's memory"
        return Profile(AUTO, "Apple silicon", "mps", memory_gib, 0.7, True, reason)
    title = f"CPU, {os.cpu_count()} cores"
    return Profile(AUTO, title, "cpu", memory_gib, 0.85, _cpu_has_bf16(), absence)


def nvidia_gpus() -> tuple[list[Gpu], str]:
    """NVIDIA devices, or none and why. A driver that hangs is given up after two seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}:
        return [], "CUDA_VISIBLE_DEVICES hides every NVIDIA device"
    found: list[list[Gpu] | str] = []

    def ask() -> None:
        try:
            found.append(_ask_nvml())
        except Exception as error:
            found.append(f"no NVIDIA driver: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_NVML_DEADLINE_S)
    answer = found[0] if found else f"the NVIDIA driver gave no answer in {_NVML_DEADLINE_S} s"
    if isinstance(answer, str):
        return [], answer
    return answer, "" if answer else "the NVIDIA driver names no device"


def _ask_nvml() -> list[Gpu]:
    import pynvml

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    return [_gpu(handle) for handle in handles]


def _gpu(handle: Any) -> Gpu:
    import pynvml

    name = _text(pynvml.nvmlDeviceGetName(handle))
    has_bf16 = pynvml.nvmlDeviceGetCudaComputeCapability(handle)[0] >= 8
    try:
        memory_gib = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
    except pynvml.NVMLError_NotSupported:  # a GB10 has no memory of its own
        return Gpu(name, host_memory_gib(), has_bf16, is_unified=True)
    return Gpu(name, memory_gib, has_bf16)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def host_memory_gib() -> float:
    """Memory of the host in GiB."""
    import psutil

    return float(psutil.virtual_memory().total / 2**30)


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine() == "arm64"
    return "amx_bf16" in flags or "avx512_bf16" in flags
