"""Bytes that stay from step to step: weights, the adapter, its gradients and optimizer state."""

from collections import Counter
from functools import lru_cache
from itertools import chain

from engine.budget.ledger.step_context import adapter_tensors
from engine.budget.library_kernels import (
    NF4_BLOCK,
    NF4_NESTED_BLOCK,
    OPTIMIZER_BLOCK,
    OPTIMIZER_WHOLE_BELOW,
    PAGED_FROM,
)
from engine.budget.step_shape import StepShape
from engine.gemma import parameters
from engine.gemma.shapes import Gemma

_CODE_BYTES = 16 * 4
_NESTED_BYTES = 256 * 4 + 4
"""The table of 4-bit numbers; that of 8-bit ones and their offset."""
_MAP_BYTES = 256 * 4
"""A table of 8-bit numbers, one for each moment."""
_STORED_BYTES = 2
"""Of a number in Gemma's checkpoints, whose pages are mapped as they are."""
Bytes = dict[str, int]


def on_device(gemma: Gemma, step: StepShape) -> Bytes:
    """By part, on the device."""
    parts = _weights(gemma, step)
    if step.tables_on_host:
        parts.pop("per-layer embeddings", None)
    trained = trained_parameters(gemma, step)
    parts["LoRA"] = trained * 4
    if step.accumulates:
        parts["gradients"] = trained * 4
    parts["optimizer"] = _optimizer(gemma, step)[0]
    return {part: size for part, size in parts.items() if size}


def on_host(gemma: Gemma, step: StepShape) -> int:
    """Bytes of lookup tables and of paged optimizer state that the host holds."""
    return tables_on_host(gemma, step) + paged(gemma, step)


def tables_on_host(gemma: Gemma, step: StepShape) -> int:
    """Bytes of the checkpoint that are mapped there."""
    return parameters.per_layer_table(gemma) * _STORED_BYTES if step.tables_on_host else 0


def paged(gemma: Gemma, step: StepShape) -> int:
    """Bytes of optimizer state in managed memory, which the driver moves to and from the host."""
    return _optimizer(gemma, step)[1]


def trained_parameters(gemma: Gemma, step: StepShape) -> int:
    """Numbers in the adapter."""
    return sum(map(sum, adapter_tensors(gemma, step)))


def _weights(gemma: Gemma, step: StepShape) -> Bytes:
    width, experts = step.width, parameters.experts(gemma)
    parts = {
        "weights": parameters.unquantised(gemma) * width,
        "quantisation state": 0,
        "embeddings": parameters.embeddings(gemma) * width,
        "per-layer embeddings": parameters.per_layer_table(gemma) * width,
        "experts": experts * len(gemma.layers) * width,
        "towers": 0 if step.is_text_only else parameters.towers(gemma) * width,
    }
    if step.quantization == "nf4":
        for layer in gemma.layers:
            for _, inputs, outputs in parameters.linears(gemma, layer):
                parts["weights"] += inputs * outputs // 2
                parts["quantisation state"] += _state(inputs * outputs, NF4_BLOCK, step)
    else:
        parts["weights"] += parameters.projections(gemma) * width
    if step.expert_block_size and gemma.experts:
        parts["experts"] = experts * len(gemma.layers) // 2
        for share in (2, 1):  # gate_up_proj and down_proj
            state = _state(experts * share // 3, step.expert_block_size, step)
            parts["quantisation state"] += state * len(gemma.layers)
    return parts


def _state(count: int, block: int, step: StepShape) -> int:
    scales = -(-count // block)
    if not step.double_quantization:
        return scales * 4 + _CODE_BYTES
    return scales + -(-scales // NF4_NESTED_BLOCK) * 4 + _CODE_BYTES + _NESTED_BYTES


@lru_cache(maxsize=16)
def _optimizer(gemma: Gemma, step: StepShape) -> tuple[int, int]:
    """Bytes of its state on the device, and in managed memory where it is paged."""
    if step.optim == "sgd":
        return 0, 0
    if step.optim == "adamw_torch":
        return trained_parameters(gemma, step) * 8, 0
    device, host = 2 * _MAP_BYTES if "8bit" in step.optim else 0, 0
    for count, times in Counter(chain(*adapter_tensors(gemma, step))).items():
        is_whole = "8bit" not in step.optim or count < OPTIMIZER_WHOLE_BELOW
        state = 8 * count if is_whole else 2 * count
        scales = 0 if is_whole else 2 * 4 * -(-count // OPTIMIZER_BLOCK)
        if "paged" in step.optim and count >= PAGED_FROM and step.device == "cuda":
            host += state * times
        else:
            device += state * times
        device += scales * times
    return device, host
