"""What the NVIDIA driver tells of its cards, where it answers within two seconds."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from engine.hardware.gpu import Absence, Gpu
from engine.units import GIB

DEADLINE_S = 2.0
_MAY_BE_ANOTHER = "several different cards are here, and CUDA may count otherwise than NVML does"
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


def find() -> Gpu | Absence:
    """The device that CUDA would call 0, heeding CUDA_VISIBLE_DEVICES, or why there is none."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
    if wanted[0].strip() in {"", "-1"}:
        return Absence("CUDA_VISIBLE_DEVICES hides every GPU", is_final=True)
    try:
        cards = ask(_cards)
    except NoAnswer as silence:
        return Absence(str(silence))
    if not cards:
        return Absence("the NVIDIA driver names no device")
    return _first_visible(cards, [name.strip() for name in wanted])


def _first_visible(cards: list[_Card], wanted: list[str]) -> Gpu | Absence:
    first = wanted[0]
    if wanted.count(first) > 1:  # CUDA then shows none at all
        return Absence(f"CUDA_VISIBLE_DEVICES names {first} twice", is_final=True)
    named = _by_index(cards, first) if first.isdecimal() else _by_uuid(cards, first)
    if len(named) != 1:
        which = "several are" if named else f"none of {len(cards)} is"
        reason = f"CUDA_VISIBLE_DEVICES asks for card {first!r}, which {which}"
        return Absence(reason, is_final=True)
    first_named = named[0]
    is_ordered = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or not first.isdecimal()
    if isinstance(first_named, Absence) or is_ordered or not _differ(cards):
        return first_named
    return replace(first_named, note=_MAY_BE_ANOTHER)


def _differ(cards: list[_Card]) -> bool:
    return len({card.name for card in cards if card.name}) > 1


def _by_index(cards: list[_Card], index: str) -> list[Gpu | Absence]:
    return [card.first for card in cards[int(index) : int(index) + 1]]


def _by_uuid(cards: list[_Card], start: str) -> list[Gpu | Absence]:
    by_uuid: dict[str, Gpu | Absence] = {card.uuid: card.first for card in cards}
    by_uuid |= {part.uuid: part for card in cards for part in card.parts}
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
        name = _text(pynvml.nvmlDeviceGetName(handle))
        uuid = _uuid(handle)
        parts = _parts(handle, name, uuid)
    except pynvml.NVMLError as error:
        return _Card(name, uuid, (), f"the NVIDIA driver fails at card {index}: {error}")
    return _Card(name, uuid, tuple(parts), "" if parts else f"MIG leaves {name} no instance")


def _parts(handle: Any, name: str, uuid: str) -> Sequence[Gpu]:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    if optional(lambda: pynvml.nvmlDeviceGetMigMode(handle)[0], 0):
        count = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
        instances = [_instance(handle, index) for index in range(count)]
        return [_gpu(instance, (major, minor)) for instance in instances if instance is not None]
    try:
        memory_gib = _memory_gib(handle)
    except pynvml.NVMLError_NotSupported:  # a GB10 has no memory of its own
        memory_gib = None
    return [Gpu(name, memory_gib, (major, minor), uuid=uuid)]


def _instance(handle: Any, index: int) -> Any:
    import pynvml

    try:
        return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
    except pynvml.NVMLError_NotFound:  # there may be fewer instances than there is room for
        return None


def _gpu(handle: Any, capability: tuple[int, int]) -> Gpu:
    import pynvml

    name = _text(pynvml.nvmlDeviceGetName(handle))
    return Gpu(name, _memory_gib(handle), capability, uuid=_uuid(handle))


def _memory_gib(handle: Any) -> float | None:
    import pynvml

    total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return total / GIB or None


def _uuid(handle: Any) -> str:
    import pynvml

    return optional(lambda: _text(pynvml.nvmlDeviceGetUUID(handle)), "")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
