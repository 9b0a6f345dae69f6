"""Bytes of one GPU's share where several train together, and of what it exchanges.

None of this is part of the simulated step; the figures follow from each method's description.
"""

from engine.budget.ledger.persistent import Bytes
from engine.budget.step_shape import StepShape

_NCCL_BYTES = 300 << 20
"""Buffers of NCCL's channels; a guess, between 0.2 and 0.4 GiB."""
_SHARDED = {
    "none": (),
    "ddp": (),
    "zero2": ("gradients", "optimizer"),
    "fsdp": (
        "weights", "quantisation state", "embeddings", "per-layer embeddings", "experts", "towers",
        "LoRA", "gradients", "optimizer",
    ),
}  # fmt: skip
"""Parts of which a GPU holds its share only (ZeRO: Rajbhandari et al. 2020; PyTorch's FSDP)."""
_GATHERED_LAYERS = 2
"""FSDP has one layer whole while it fetches the next."""


def shared(parts: Bytes, case: StepShape, layers: int) -> Bytes:
    """The parts of one GPU of `case.gpus`, with a part for what is exchanged."""
    if case.gpus == 1:
        return parts
    split = _SHARDED[case.sharding]
    found = {part: -(-size // case.gpus) if part in split else size for part, size in parts.items()}
    found["communication"] = _NCCL_BYTES + _exchanged(parts, case, layers)
    return found


def _exchanged(parts: Bytes, case: StepShape, layers: int) -> int:
    trained = parts["LoRA"]
    if case.sharding == "ddp":  # buckets hold every gradient once more
        return trained
    if case.sharding == "zero2":  # two buckets in 16 bits, as communication overlaps
        return min(2 * 2 * case.bucket_elements, trained)
    if case.sharding == "fsdp":
        whole = parts.get("weights", 0) + parts.get("experts", 0) + parts.get("LoRA", 0)
        tables = parts.get("embeddings", 0)
        return _GATHERED_LAYERS * whole // layers + tables
    return 0
