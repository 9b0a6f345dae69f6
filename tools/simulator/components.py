"""A step's highest moment as ledger rows and words."""

from collections import Counter

from engine.budget.components import PARTS
from engine.budget.library_kernels import CUBLAS_HANDLES
from engine.budget.step_shape import StepShape
from tools.simulator.tracker import Block, Moment


def of_blocks(blocks: list[Block], case: StepShape) -> dict[str, int]:
    """Bytes by part, in the order of the table."""
    sizes: Counter[str] = Counter()
    for block in blocks:
        sizes[_part(block.part, case)] += block.size_bytes
    if case.device == "cuda":
        sizes["cuBLAS workspaces"] += sum(library_blocks(case))
    return {part: sizes[part] for part in PARTS if sizes[part]}


def library_blocks(case: StepShape) -> list[int]:
    """Blocks that libraries hold on the card from the first multiplication on."""
    return [case.cublas_workspace_bytes] * CUBLAS_HANDLES if case.device == "cuda" else []


def _part(origin: str, case: StepShape) -> str:
    if origin.startswith("head"):
        return "head"
    if origin in {"backward", "optimizer step", "setup"}:
        return "temporaries"
    if origin == "forward":
        return "checkpoints" if case.gradient_checkpointing else "activations"
    return origin


def moment_text(moment: Moment, layers: int) -> str:
    """A moment in words."""
    doing = f"{moment.doing} pass" if moment.doing in {"forward", "backward"} else moment.doing
    return doing if moment.layer is None else f"{doing}, layer {moment.layer + 1} of {layers}"
