"""What the NVIDIA driver tells of its cards, where it answers within two seconds."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.hardware.gpu import Absence, Gpu
from engine.hardware.nvidia_speed import Speed
from engine.units import GIB

DEADLINE_S = 2.0
_COUNTED = (
    "CUDA_VISIBLE_DEVICES is read as nvidia-smi counts (PCI_BUS_ID), CUDA may count otherwise"
)
_MOST_NAMES = 3
"""Of processes that are named."""
_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclass(frozen=True, slots=True)
class _Card:
    """One card: itself, or the instances that MIG splits it into, or why it can't be used."""

    name: str = ""
    uuid: str = ""
    parts: tuple[Gpu, ...] = ()
    reason: str = ""

    @property
    def first(self) -> Gpu | Absence:
        """What CUDA uses of the card when it is named as a whole."""
        return self.parts[0] if self.parts else Absence(self.reason)


class NoAnswer(Exception):
    """The driver is absent, fails or hangs; says which."""


def ask(question: Callable[[], _T]) -> _T:
    """The answer to a question that is asked with NVML initialised.

    A driver that hangs is left to a thread of its own. Raises `NoAnswer` where it hangs longer
    than `DEADLINE_S` and for whatever the question raises.
    """
    answers: list[_T] = []
    reasons = [f"the NVIDIA driver gave no answer in {DEADLINE_S} s"]

    def answer() -> None:
        try:
            answers.append(_initialised(question))
        except Exception as error:
            is_absent = type(error).__name__ == "NVMLError_LibraryNotFound"
            reasons.append(
                f"{'no NVIDIA driver' if is_absent else 'the NVIDIA driver fails'}: {error}"
            )

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    if not answers:
        raise NoAnswer(reasons[-1])
    return answers[0]


def _initialised(question: Callable[[], _T]) -> _T:
    import pynvml

    pynvml.nvmlInit()
    try:
        return question()
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def optional(question: Callable[[], _T], otherwise: _U) -> _T | _U:
    """An answer that not every card and driver has, or something else."""
    import pynvml

    try:
        return question()
    except pynvml.NVMLError:
        return otherwise


def driver_version(unknown: str = "unknown") -> str:
    """The NVIDIA driver's version, or another word where it doesn't tell."""
    try:
        return ask(_driver_version)
    except NoAnswer:
        return unknown


def _driver_version() -> str:
    import pynvml

    return str(pynvml.nvmlSystemGetDriverVersion())


def find(preferred: str = "") -> Gpu | Absence:
    """The card with most free memory of those that CUDA_VISIBLE_DEVICES leaves, or why none is.

    The preferred one, as `Gpu.visible_as` names it, is taken while it is among them.
    """
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "all").split(",")]
    if names[0] in {"", "-1"}:
        return Absence("CUDA_VISIBLE_DEVICES hides every GPU", is_final=True)
    try:
        cards = ask(_cards)
    except NoAnswer as silence:
        return Absence(str(silence))
    if not cards:
        return Absence("the NVIDIA driver names no device")
    visible = [card.first for card in cards] if names == ["all"] else _visible(cards, names)
    usable = [gpu for gpu in visible if isinstance(gpu, Gpu)]
    if not usable:
        return visible[0]
    freest = max(usable, key=lambda gpu: gpu.free_gib or 0.0)
    gpu = next((gpu for gpu in usable if gpu.visible_as == preferred), freest)
    if len(usable) == 1 or gpu is not freest:
        return gpu
    why = f"of {len(usable)} cards the one with most free memory"
    return replace(gpu, note="; ".join(filter(None, (gpu.note, why))))


def _visible(cards: list[_Card], names: list[str]) -> list[Gpu | Absence]:
    """Cards by their names, up to the first that is none, as CUDA does."""
    visible: list[Gpu | Absence] = []
    for name in names:
        if names.count(name) > 1:  # CUDA then shows none at all
            return [Absence(f"CUDA_VISIBLE_DEVICES names {name} twice", is_final=True)]
        named = _by_index(cards, name) if name.isdecimal() else _by_uuid(cards, name)
        if len(named) != 1:
            which = "several are" if named else f"none of {len(cards)} is"
            reason = f"CUDA_VISIBLE_DEVICES asks for card {name!r}, which {which}"
            return visible or [Absence(reason, is_final=True)]
        visible.append(named[0])
    return visible


def _differ(cards: list[_Card]) -> bool:
    return len({card.name for card in cards if card.name}) > 1


def _by_index(cards: list[_Card], index: str) -> list[Gpu | Absence]:
    named = [card.first for card in cards[int(index) : int(index) + 1]]
    is_ordered = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or not _differ(cards)
    return [
        gpu if is_ordered or isinstance(gpu, Absence) else replace(gpu, note=_COUNTED)
        for gpu in named
    ]


def _by_uuid(cards: list[_Card], start: str) -> list[Gpu | Absence]:
    by_uuid: dict[str, Gpu | Absence] = {card.uuid: card.first for card in cards}
    by_uuid |= {part.visible_as: part for card in cards for part in card.parts}
    is_uuid = start.startswith(("GPU-", "MIG-"))
    return [gpu for uuid, gpu in by_uuid.items() if is_uuid and uuid.startswith(start)]


def _cards() -> list[_Card]:
    import pynvml

    return [_card(index) for index in range(pynvml.nvmlDeviceGetCount())]


def _card(index: int) -> _Card:
    import pynvml

    name = uuid = ""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = str(pynvml.nvmlDeviceGetName(handle))
        uuid = _uuid(handle)
        parts = _parts(handle, name, uuid or str(index))
    except pynvml.NVMLError as error:
        return _Card(name, uuid, (), f"the NVIDIA driver fails at card {index}: {error}")
    return _Card(name, uuid, tuple(parts), "" if parts else f"MIG leaves {name} no instance")


def _parts(handle: Any, name: str, visible_as: str) -> Sequence[Gpu]:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    if optional(lambda: pynvml.nvmlDeviceGetMigMode(handle)[0], 0):
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        instances = [_instance(handle, index) for index in range(count)]
        return [_gpu(instance, (major, minor)) for instance in instances if instance is not None]
    try:
        memory_gib, free_gib = _memory_gib(handle)
    except pynvml.NVMLError_NotSupported:  # a GB10 has no memory of its own
        memory_gib = free_gib = None
    holders = _holders(handle)
    return [
        Gpu(
            name, memory_gib, (major, minor),
            visible_as=visible_as, free_gib=free_gib, holders=holders,
            speed=optional(lambda: _speed(handle), None),
        )
    ]  # fmt: skip


def _speed(handle: Any) -> Speed:
    import pynvml

    return Speed(
        pynvml.nvmlDeviceGetNumGpuCores(handle),
        pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
        pynvml.nvmlDeviceGetMemoryBusWidth(handle),
        pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_MEM),
    )


def _instance(handle: Any, index: int) -> Any:
    import pynvml

    try:
        return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
    except pynvml.NVMLError_NotFound:  # there may be fewer instances than there is room for
        return None


def _gpu(handle: Any, capability: tuple[int, int]) -> Gpu:
    import pynvml

    name = str(pynvml.nvmlDeviceGetName(handle))
    memory_gib, free_gib = _memory_gib(handle)
    return Gpu(name, memory_gib, capability, visible_as=_uuid(handle), free_gib=free_gib)


def _memory_gib(handle: Any) -> tuple[float | None, float | None]:
    """All of it and what is free now; None where the card has none of its own."""
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return (memory.total / GIB, memory.free / GIB) if memory.total else (None, None)


def _holders(handle: Any) -> str:
    """Names of other processes that hold memory of a card, those that hold most first."""
    import pynvml

    bytes_by_pid: dict[int, int] = {}
    for kind in ("Compute", "Graphics"):
        ask = getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses")
        with contextlib.suppress(pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
            bytes_by_pid |= {one.pid: one.usedGpuMemory or 0 for one in ask(handle)}
    bytes_by_pid.pop(os.getpid(), None)
    names = dict.fromkeys(map(_process_name, sorted(bytes_by_pid, key=bytes_by_pid.__getitem__)))
    return ", ".join([*names][::-1][:_MOST_NAMES])


def _process_name(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return f"process {pid}"


def _uuid(handle: Any) -> str:
    import pynvml

    return optional(lambda: str(pynvml.nvmlDeviceGetUUID(handle)), "")
