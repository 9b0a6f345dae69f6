"""Bytes that stay from step to step: weights, the adapter, its gradients and optimizer state."""

from engine.budget.ledger.step_context import lora_by_layer
from engine.budget.step_shape import StepShape
from engine.gemma import parameters
from engine.gemma.catalog import Gemma

_BLOCK, _NESTED_BLOCK = 64, 256
"""Weights per scale in NF4, and scales per scale where these are quantised again."""
_CODE_BYTES = 16 * 4
_NESTED_BYTES = 256 * 4 + 4
"""The table of 4-bit numbers; that of 8-bit ones and their offset."""
_SMALL = 4096
"""Elements below which bitsandbytes keeps an 8-bit optimizer's state in float32."""
_PAGED_FROM = 100_000
"""Elements from which a paged optimizer puts state in managed memory."""
_OPTIMIZER_BLOCK = 256
_MAP_BYTES = 256 * 4
"""A table of 8-bit numbers, one for each moment."""
_STORED_BYTES = 2
"""Of a number in Gemma's checkpoints, whose pages are mapped as they are."""
Bytes = dict[str, int]


def on_device(gemma: Gemma, case: StepShape) -> Bytes:
    """By part, on the device."""
    found = _weights(gemma, case)
    if case.tables_on_host:
        found.pop("per-layer embeddings", None)
    trained = trained_parameters(gemma, case)
    found["LoRA"] = trained * 4
    if case.accumulates:
        found["gradients"] = trained * 4
    found["optimizer"] = _optimizer(gemma, case)[0]
    return {part: size for part, size in found.items() if size}


def on_host(gemma: Gemma, case: StepShape) -> int:
    """Bytes of lookup tables and of paged optimizer state that the host holds."""
    return tables_on_host(gemma, case) + paged(gemma, case)


def tables_on_host(gemma: Gemma, case: StepShape) -> int:
    """Bytes of the checkpoint that are mapped there."""
    return parameters.per_layer_table(gemma) * _STORED_BYTES if case.tables_on_host else 0


def paged(gemma: Gemma, case: StepShape) -> int:
    """Bytes of optimizer state in managed memory, which the driver moves to and from the host."""
    return _optimizer(gemma, case)[1]


def trained_parameters(gemma: Gemma, case: StepShape) -> int:
    """Numbers in the adapter."""
    return sum(lora_by_layer(gemma, case))


def _weights(gemma: Gemma, case: StepShape) -> Bytes:
    width, experts = case.width, parameters.experts(gemma)
    found = {
        "weights": parameters.unquantised(gemma) * width,
        "quantisation state": 0,
        "embeddings": parameters.embeddings(gemma) * width,
        "per-layer embeddings": parameters.per_layer_table(gemma) * width,
        "experts": experts * len(gemma.layers) * width,
        "towers": 0 if case.is_text_only else parameters.towers(gemma) * width,
    }
    if case.quantization == "nf4":
        for layer in gemma.layers:
            for _, inputs, outputs in parameters.linears(gemma, layer):
                found["weights"] += inputs * outputs // 2
                found["quantisation state"] += _state(inputs * outputs, _BLOCK, case)
    else:
        found["weights"] += parameters.projections(gemma) * width
    if case.expert_block_size and gemma.experts:
        found["experts"] = experts * len(gemma.layers) // 2
        for share in (2, 1):  # gate_up_proj and down_proj
            state = _state(experts * share // 3, case.expert_block_size, case)
            found["quantisation state"] += state * len(gemma.layers)
    return found


def _state(count: int, block: int, case: StepShape) -> int:
    scales = -(-count // block)
    if not case.double_quantization:
        return scales * 4 + _CODE_BYTES
    return scales + -(-scales // _NESTED_BLOCK) * 4 + _CODE_BYTES + _NESTED_BYTES


def _optimizer(gemma: Gemma, case: StepShape) -> tuple[int, int]:
    """Bytes of its state on the device, and in managed memory where it is paged."""
    if case.optim == "sgd":
        return 0, 0
    if case.optim == "adamw_torch":
        return trained_parameters(gemma, case) * 8, 0
    device, host = 2 * _MAP_BYTES if "8bit" in case.optim else 0, 0
    for count, times in _tensors(gemma, case).items():
        is_whole = "8bit" not in case.optim or count < _SMALL
        state = 8 * count if is_whole else 2 * count
        scales = 0 if is_whole else 2 * 4 * -(-count // _OPTIMIZER_BLOCK)
        if "paged" in case.optim and count >= _PAGED_FROM and case.device == "cuda":
            host += state * times
        else:
            device += state * times
        device += scales * times
    return device, host


def _tensors(gemma: Gemma, case: StepShape) -> dict[int, int]:
    return parameters.trained_tensors(
        gemma,
        case.target_modules,
        case.r,
        is_dora=case.method == "dora",
        adapts_experts=case.adapts_experts,
    )
