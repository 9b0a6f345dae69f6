"""Every allocation and release of a step, by storage, on fake or on real tensors."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
_ACCUMULATING = {aten.add.Tensor, aten.index_put.default}
_ELSEWHERE = -1


class Moment(NamedTuple):
    """A stretch of a step: what is being done, and in which decoder layer."""

    doing: str
    layer: int | None = None


@dataclass(slots=True)
class Block:
    """One storage on the device."""

    size_bytes: int
    part: str
    what: str


class High(NamedTuple):
    """Bytes that are held, and after how many events of the trace that was."""

    allocated_bytes: int
    position: int


Workspaces = dict[Any, Callable[[tuple[Any, ...], dict[str, Any]], list[int]]]
"""Bytes that an operation holds inside itself, from its arguments."""
Substitutes = dict[Any, Callable[..., Any]]
"""Operations whose result has a size that fake tensors can't tell, and what stands for them."""


class Tracker(TorchDispatchMode):
    """While it is entered, new storages are counted until they die.

    `trace` holds a block's number where it was made and the number's complement where it died.
    """

    def __init__(
        self, workspaces: Workspaces | None = None, substitutes: Substitutes | None = None
    ) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self.trace: list[int] = []
        self.curves: dict[Moment, list[High]] = {}
        """What is held after each block that is made, moment by moment."""
        self.moment = Moment("setup")
        self.allocated_bytes = 0
        self.host_bytes = 0
        self.stop: Callable[[], None] = lambda: None
        """Called now and then; may raise, to end the step early."""
        self._workspaces = workspaces or {}
        self._substitutes = substitutes or {}
        self._block_of: dict[int, int] = {}
        self._deaths: dict[int, Any] = {}

    def hold(self, tensor: torch.Tensor, part: str, what: str) -> None:
        """Count a tensor that is there already, or rename the block that holds it."""
        storage = tensor.untyped_storage()
        number = self._block_of.get(storage._cdata)
        if number is None:
            self._follow(storage, part, what)
        elif number != _ELSEWHERE:
            self.blocks[number].part, self.blocks[number].what = part, what

    def hold_elsewhere(self, tensor: torch.Tensor) -> None:
        """Leave a tensor out of the device's memory: it is the host's."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._block_of:
            self._block_of[storage._cdata] = _ELSEWHERE
            self.host_bytes += storage.nbytes()

    def is_elsewhere(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor was said to be in host memory."""
        return self._block_of.get(tensor.untyped_storage()._cdata) == _ELSEWHERE

    @property
    def highs(self) -> dict[Moment, High]:
        """The most that was held in each moment."""
        return {moment: max(curve) for moment, curve in self.curves.items()}

    def high(self) -> tuple[Moment, High]:
        """The moment of the most memory."""
        return max(self.highs.items(), key=lambda item: item[1].allocated_bytes)

    def live_at(self, position: int) -> list[Block]:
        """Blocks that are held after so many events of the trace."""
        live: set[int] = set()
        for event in self.trace[:position]:
            if event >= 0:
                live.add(event)
            else:
                live.discard(~event)
        return [self.blocks[number] for number in live]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, and count what it makes."""
        kwargs = kwargs or {}
        in_backward = torch._C._current_graph_task_id() != -1
        part = self.moment.doing
        if in_backward and torch.is_grad_enabled():
            part = "recomputed layer"
        elif in_backward and part == "backward":
            part = "temporaries"
        reused = self._reused(func, args) if part == "temporaries" else None
        sizes = self._workspaces[func](args, kwargs) if func in self._workspaces else []
        within = [self._allocate(size, part, f"inside {func}") for size in sizes]
        result = self._substitutes.get(func, func)(*args, **kwargs)
        if reused is not None:
            self._release(self._block_of[reused])
            self._block_of[reused] = _ELSEWHERE
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._track(leaf, part, func)
        for number in within:
            self._release(number)
        return result

    def _reused(self, func: Any, args: Any) -> int | None:
        """The storage that autograd would add to in place.

        Under a dispatch mode its engine adds out of place: `can_accumulate_inplace` in PyTorch's
        accumulate_grad.h asks for a plain tensor.
        """
        if func not in _ACCUMULATING or not isinstance(args[0], torch.Tensor):
            return None
        onto, added = args[0], args[1]
        if func is aten.add.Tensor:
            if not isinstance(added, torch.Tensor):
                return None
            if (onto.shape, onto.dtype) != (added.shape, added.dtype):
                return None
        storage = onto.untyped_storage()
        key = storage._cdata
        is_whole = storage.nbytes() == onto.numel() * onto.element_size()
        return key if is_whole and self._block_of.get(key, _ELSEWHERE) != _ELSEWHERE else None

    def _track(self, tensor: torch.Tensor, part: str, func: Any) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._block_of:
            self._follow(storage, part, f"{func} {tuple(tensor.shape)} {tensor.dtype}")

    def _follow(self, storage: Any, part: str, what: str) -> None:
        key = storage._cdata
        self._block_of[key] = self._allocate(storage.nbytes(), part, what)
        self._deaths[key] = weakref.ref(storage, lambda _: self._died(key))

    def _died(self, key: int) -> None:
        self._deaths.pop(key, None)
        number = self._block_of.pop(key, _ELSEWHERE)
        if number != _ELSEWHERE:
            self._release(number)

    def _allocate(self, size_bytes: int, part: str, what: str) -> int:
        number = len(self.blocks)
        self.blocks.append(Block(size_bytes, part, what))
        self.trace.append(number)
        self.allocated_bytes += size_bytes
        point = High(self.allocated_bytes, len(self.trace))
        self.curves.setdefault(self.moment, []).append(point)
        if not number % 256:
            self.stop()
        return number

    def _release(self, number: int) -> None:
        self.trace.append(~number)
        self.allocated_bytes -= self.blocks[number].size_bytes
