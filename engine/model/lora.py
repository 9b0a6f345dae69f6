"""LoRA on the language model only, with every adapted module known by name."""

import re
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from engine.recipe import Adapter


def pattern(projections: tuple[str, ...]) -> str:
    """Regular expression over module names that PEFT matches whole.

    It covers Gemma's text-only classes (model.layers...) and multimodal ones
    (model.language_model.layers...), and never a vision or audio tower.
    """
    names = "|".join(re.escape(name) for name in projections)
    return rf"model\.(language_model\.)?layers\.\d+\.((self_attn|mlp)\.)?({names})"


def target_modules(model: Any, projections: tuple[str, ...]) -> list[str]:
    """Names of the modules that get an adapter. Raises `ValueError` where there is none.

    Layers that share another's keys and values have no k_proj and v_proj.
    """
    compiled = re.compile(pattern(projections))
    found = [name for name, _ in model.named_modules() if compiled.fullmatch(name)]
    if not found:
        raise ValueError(f"the model has no module named {', '.join(projections)} in its layers")
    return found


def attach(model: Any, adapter: Adapter, seed: int) -> PeftModel:
    """The model with a fresh adapter whose weights are float32, initialised from `seed`."""
    torch.manual_seed(seed)
    return get_peft_model(model, configuration(adapter))


def configuration(adapter: Adapter) -> LoraConfig:
    """The adapter in PEFT's terms."""
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        target_modules=pattern(adapter.target_modules),
        task_type="CAUSAL_LM",
    )


def keep_float32(model: Any) -> None:
    """Hold trained weights in float32: in bfloat16 small updates are rounded away.

    TRL casts the adapter of a quantised model to bfloat16.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
