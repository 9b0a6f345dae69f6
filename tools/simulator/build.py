"""A model without weights as the engine would load it, with its adapter, on fake tensors."""

from collections.abc import Iterator
from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes import functional as four_bit
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.quantizers import AutoHfQuantizer
from trl.trainer.utils import add_fused_lm_head

from engine.budget.library_kernels import NF4_BLOCK
from engine.budget.step_shape import StepShape
from engine.gemma import towers
from engine.gemma.lora_targets import ATTENTION, HEAD, MLP, PER_LAYER_TABLE, TOKEN_TABLE
from engine.hardware import kernel_choice
from engine.model import lora
from engine.model.experts import QuantisedExperts, replace_experts
from engine.model.load import four_bits
from engine.model.patches.fused_lora import use_fused_lora
from engine.model.patches.partial_models import without_towers
from engine.recipe.schema import Adapter
from tools.simulator import patches
from tools.simulator.tracker import Tracker

_HEAD_OUTPUTS = ("log_probs", "entropy", "is_top1")
"""What TRL's trainer asks of the fused head: sft_trainer.py."""


def skeleton(config: Any, case: StepShape) -> PeftModel:
    """The adapted model on the meta device: shapes and types, no storage."""
    dtype = getattr(torch, case.dtype)
    with torch.device("meta"), without_towers(case.is_text_only):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.tie_weights()
    if case.quantization != "none":
        four_bit_config = four_bits(dtype, double_quantization=case.double_quantization)
        quantizer = AutoHfQuantizer.from_config(four_bit_config)
        quantizer._process_model_before_weight_loading(model, device_map=None)
        model.is_loaded_in_4bit = True
    if case.expert_block_size:
        replace_experts(model)
    add_fused_lm_head(model, outputs=_HEAD_OUTPUTS)
    adapter_config = lora.configuration(model, _adapter(case))
    with patches.replaced(patches.of_adapter()):
        adapted = get_peft_model(model, adapter_config, low_cpu_mem_usage=True)
    lora.start_as_trl(adapted)
    if case.has_own_head and kernel_choice.has_own_lora(case.device):
        use_fused_lora(adapted)
    return adapted


def _adapter(case: StepShape) -> Adapter:
    return Adapter(
        method=case.method,
        r=case.r,
        lora_alpha=2 * case.r,
        lora_dropout=case.lora_dropout,
        target_modules=case.target_modules or ATTENTION + MLP,
        target_experts=case.adapts_experts,
    )


def fill(model: PeftModel, case: StepShape) -> None:
    """Give every parameter and buffer storage, quantised where it is; within a fake mode."""
    by_id: dict[int, torch.nn.Parameter] = {}
    for module, name, parameter in _parameters(model):
        if id(parameter) not in by_id:
            block_size = _block_size(module, name, case)
            by_id[id(parameter)] = (
                _four_bit(parameter, block_size, case) if block_size else _empty(parameter)
            )
        module._parameters[name] = by_id[id(parameter)]
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type == "meta":
                module._buffers[name] = torch.empty_like(buffer, device="cpu")


def _block_size(module: Any, name: str, case: StepShape) -> int:
    """Weights per scale; 0 where they are not quantised."""
    if isinstance(module, QuantisedExperts):
        return case.expert_block_size
    return NF4_BLOCK if isinstance(module, bnb.nn.Linear4bit) and name == "weight" else 0


def _parameters(model: Any) -> Iterator[tuple[Any, str, torch.nn.Parameter]]:
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                yield module, name, parameter


def _empty(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
    return torch.nn.Parameter(empty, requires_grad=parameter.requires_grad)


def _four_bit(
    parameter: torch.nn.Parameter, block_size: int, case: StepShape
) -> torch.nn.Parameter:
    """Packed values with their state; bitsandbytes' own class can't hold a fake tensor."""
    whole = torch.empty(parameter.shape, dtype=getattr(torch, case.dtype), device="cpu")
    packed, state = four_bit.quantize_4bit(
        whole, blocksize=block_size, compress_statistics=case.double_quantization, quant_type="nf4"
    )
    weight: Any = torch.nn.Parameter(packed, requires_grad=False)
    weight.quant_state, weight.bnb_quantized = state, True
    return weight


def hold(tracker: Tracker, model: PeftModel, case: StepShape) -> None:
    """Count what a model holds before its first step, each tensor under the part it belongs to."""
    for name, parameter in model.named_parameters():
        if case.tables_on_host and PER_LAYER_TABLE in name:
            tracker.hold_elsewhere(parameter)
            continue
        tracker.hold(parameter, part_of(name, parameter.requires_grad), name)
        state = getattr(parameter, "quant_state", None)
        for tensor in _tensors(state) if state is not None else ():
            tracker.hold(tensor, "quantisation state", name)
    for name, buffer in model.named_buffers():
        tracker.hold(buffer, "weights", name)


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    for quant_state in (state, state.state2):
        for name in ("absmax", "code", "offset"):
            value = getattr(quant_state, name, None)
            if isinstance(value, torch.Tensor):
                yield value


def part_of(name: str, is_trained: bool) -> str:
    """The ledger's name for where a parameter belongs."""
    if is_trained:
        return "LoRA"
    if any(module in name for module in towers.MODULES):
        return "towers"
    if PER_LAYER_TABLE in name:
        return "per-layer embeddings"
    if TOKEN_TABLE in name or HEAD in name:
        return "embeddings"
    return "experts" if ".experts." in name else "weights"
