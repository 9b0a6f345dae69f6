"""A step's highest moment as ledger rows and words."""

from collections import Counter

from engine.case import Case
from engine.memory.tracker import Block, Moment

WHY = {
    "weights": "frozen weights of the layers",
    "quantisation state": "scales of the 4-bit blocks",
    "embeddings": "the token table, which is the output head too",
    "per-layer embeddings": "Gemma 4's tables of every layer",
    "experts": "weights of all experts",
    "towers": "vision and audio, frozen",
    "LoRA": "trained weights in float32",
    "gradients": "of the trained weights",
    "optimizer": "its state for every trained weight",
    "batch": "token numbers, labels and positions",
    "checkpoints": "what each layer keeps of its input for the backward pass",
    "activations": "what every layer keeps for the backward pass",
    "recomputed layer": "one layer's activations, computed again",
    "head": "tiles of the logits and their gradient",
    "reference": "the forward pass of the model without its adapter",
    "temporaries": "gradients on their way, and memory within kernels",
    "cuBLAS workspaces": "of the forward and the backward thread",
}
"""Every part in the order of the table, and what it is."""

_CUBLAS_HANDLES = 2


def of_blocks(blocks: list[Block], case: Case) -> dict[str, int]:
    """Bytes by part, in the order of the table."""
    found: Counter[str] = Counter()
    for block in blocks:
        found[_part(block.part, case)] += block.size_bytes
    if case.device == "cuda":
        found["cuBLAS workspaces"] += sum(held(case))
    return {part: found[part] for part in WHY if found[part]}


def held(case: Case) -> list[int]:
    """Blocks that libraries hold on the card from the first multiplication on."""
    return [case.cublas_workspace_bytes] * _CUBLAS_HANDLES if case.device == "cuda" else []


def _part(origin: str, case: Case) -> str:
    if origin.startswith("head"):
        return "head"
    if origin in {"backward", "optimizer step", "setup"}:
        return "temporaries"
    if origin == "reference forward":
        return "reference"
    if origin == "forward":
        return "checkpoints" if case.gradient_checkpointing else "activations"
    return origin


def told(moment: Moment, layers: int) -> str:
    """A moment in words."""
    doing = f"{moment.doing} pass" if moment.doing in {"forward", "backward"} else moment.doing
    return doing if moment.layer is None else f"{doing}, layer {moment.layer + 1} of {layers}"
