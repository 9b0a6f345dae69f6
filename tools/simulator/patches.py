"""Private functions replaced while a step is simulated, and which of them this install lacks."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from engine.budget.step_shape import StepShape
from tools.simulator import attention, experts

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class StandIn:
    """A replacement for `name` of a module; it is made from what stands there."""

    module: str
    name: str
    make: Callable[[Any], Any]

    @property
    def path(self) -> str:
        """Where it stands, for people."""
        return f"{self.module}.{self.name}"


@contextmanager
def replaced(stand_ins: list[StandIn]) -> Iterator[list[str]]:
    """Replace what is there for as long as it lasts; gives the paths of what isn't."""
    missing: list[str] = []
    undo: list[tuple[Any, str, Any]] = []
    try:
        for stand_in in stand_ins:
            owner = _owner(stand_in.module)
            original = getattr(owner, stand_in.name, _ABSENT)
            if original is _ABSENT:
                missing.append(stand_in.path)
                continue
            undo.append((owner, stand_in.name, original))
            setattr(owner, stand_in.name, stand_in.make(original))
        yield missing
    finally:
        for owner, name, original in reversed(undo):
            setattr(owner, name, original)


def of_case(case: StepShape) -> list[StandIn]:
    """What has to be replaced for a case."""
    masks = "transformers.masking_utils"
    stand_ins = [
        StandIn(
            masks,
            "find_packed_sequence_indices",
            lambda original: _restarting(original, case.restarts),
        ),
        StandIn(
            masks,
            "_ignore_causal_mask_sdpa",
            lambda original: _ignoring(original, case.restarts),
        ),
        StandIn("peft.tuners.lora.dora", "dequantize_module_weight", lambda _: _spelled_out),
        StandIn("engine.model.expert_matmul", "matmul_strategy", lambda _: experts.way_of(case)),
    ]
    return stand_ins + {"cuda": _of_cuda, "mps": _of_mps}.get(case.device, lambda _: [])(case)


def _of_mps(case: StepShape) -> list[StandIn]:
    """Differences between Apple's GPU and the CPU: attention without a kernel of its own."""
    sdpa = "scaled_dot_product_attention"
    return [
        StandIn("torch.nn.functional", sdpa, lambda _: attention.spelled_out),
        StandIn("transformers.integrations.sdpa_attention", "use_gqa_in_sdpa", lambda _: _always),
    ]


def _of_cuda(case: StepShape) -> list[StandIn]:
    """Differences between a CUDA device and the CPU that fake tensors are said to be on.

    Triton kernels of TRL's head work in the tile they are given, and cuBLAS sums in float32 in
    place, so these three allocate nothing.
    """
    head = "trl.kernels.chunked_logprob"
    torch_functional = "torch.nn.functional"
    return [
        *(StandIn(head, name, lambda _: _nothing) for name in _IN_PLACE),
        StandIn(
            torch_functional,
            "scaled_dot_product_attention",
            lambda _: attention.of_card(case),
        ),
        StandIn(torch_functional, "dropout", lambda _: _dropout),
        StandIn("torch:Tensor", "sum", _summing_in_float32),
        StandIn("torch", "is_autocast_enabled", _autocasting),
        StandIn("torch.optim.adam", "_get_value", lambda _: _one),
    ]


_IN_PLACE = ("_forward_tile", "_backward_tile", "_addmm_fp32")


def of_adapter() -> list[StandIn]:
    """What has to be replaced while an adapter is put on a model on the meta device.

    DoRA takes a copy of a 4-bit layer and spells its weight out; on that device it has none yet.
    """
    dora = "peft.tuners.lora.dora"
    return [
        StandIn(dora, "dequantize_module_weight", lambda _: _spelled_out),
        StandIn(dora, "deepcopy", lambda _: _itself),
    ]


def lacking() -> list[str]:
    """Every function that is to be replaced for some case and isn't in this install."""
    with replaced([*of_case(StepShape(model="")), *of_adapter()]) as missing:
        return missing


def _owner(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        owner = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(owner, name, None) if name else owner


def _always(*_: Any, **__: Any) -> bool:
    """Keys are left shared, as transformers does on Apple's GPUs from PyTorch 2.13 on."""
    return True


def _nothing(*_: Any, **__: Any) -> None:
    """A kernel that allocates nothing."""


def _autocasting(original: Callable[..., bool]) -> Callable[..., bool]:
    """Without a device it speaks of CUDA; PEFT's 4-bit layers decide by it whether to cast."""
    return lambda *device: original(*(device or ("cpu",)))


def _itself(module: Any) -> Any:
    """A copy that is none."""
    return module


def _one(value: Any) -> Any:
    """A step count, which a fake tensor can't tell."""
    return 1.0 if isinstance(value, torch.Tensor) else value


def _restarting(original: Callable[..., Any], restarts: bool) -> Callable[..., Any]:
    """Whether positions restart is read from their values, which fake tensors have not."""

    def find(position_ids: torch.Tensor) -> Any:
        indices = original(position_ids)
        return indices if restarts else None

    return find


def _ignoring(original: Callable[..., bool], is_padded: bool) -> Callable[..., bool]:
    """Whether a padding mask hides anything is read from its values too."""

    def ignore(padding_mask: torch.Tensor | None, *sizes: Any, **named: Any) -> bool:
        return not (is_padded and padding_mask is not None) and original(None, *sizes, **named)

    return ignore


def _spelled_out(module: Any) -> Any:
    """A weight in 16 bits; a simulated 4-bit weight is a plain parameter with its state."""
    from bitsandbytes import functional as four_bit

    state = getattr(module.weight, "quant_state", None)
    return module.weight if state is None else four_bit.dequantize_4bit(module.weight, state)


def _dropout(
    inputs: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """CUDA keeps a mask of bytes; the CPU one of the inputs' type."""
    if not training or p == 0:
        return inputs
    dropped: torch.Tensor = torch.native_dropout(inputs, p, True)[0]
    return dropped


def _summing_in_float32(original: Callable[..., Any]) -> Callable[..., Any]:
    """`sum` stands in CUDA's list of operations that autocast runs in float32, not in the CPU's."""

    def total(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        halves = {torch.bfloat16, torch.float16}
        if torch.is_autocast_enabled("cpu") and tensor.dtype in halves:
            tensor = tensor.float()
        return original(tensor, *args, **kwargs)

    return total
