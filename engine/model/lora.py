"""LoRA on the language model only, with every adapted module known by name."""

import re
from collections import defaultdict
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from engine.gemma import lora_targets, towers
from engine.recipe.schema import Adapter, Targets

_TOWER = re.compile(rf".*\b({'|'.join(towers.MODULES)})\b.*")


def pattern(projections: tuple[str, ...]) -> str:
    """Regular expression over module names that PEFT matches whole.

    It covers Gemma's text-only classes (model.layers...) and multimodal ones
    (model.language_model.layers...), and never a vision or audio tower.
    """
    names = "|".join(re.escape(name) for name in projections)
    return rf"model\.(language_model\.)?layers\.\d+\.((self_attn|mlp)\.)?({names})"


def target_modules(model: Any, wanted: Targets) -> list[str]:
    """Names of the modules that get an adapter.

    Layers that share another's keys and values have no k_proj and v_proj. Raises `ValueError` where
    there is none, and where an expression means something else than a projection.
    """
    compiled = re.compile(
        pattern(wanted if isinstance(wanted, tuple) else lora_targets.PROJECTIONS)
    )
    found = [name for name, _ in model.named_modules() if compiled.fullmatch(name)]
    if isinstance(wanted, str):
        found = [name for name in found if lora_targets.matches(wanted, _within_decoder(name))]
        _refuse_others(model, wanted, found)
    if not found:
        told = wanted if isinstance(wanted, str) else ", ".join(wanted)
        raise ValueError(f"the model has no module named {told} in its layers")
    return found


def _within_decoder(name: str) -> str:
    return name.removeprefix("model.").removeprefix("language_model.")


def _refuse_others(model: Any, wanted: str, found: list[str]) -> None:
    """Raises `ValueError` where the expression means tables, the head or routers too."""
    others = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
        and not _TOWER.fullmatch(name)
        and lora_targets.matches(wanted, _within_decoder(name))
    ]
    if wrong := sorted(set(others) - set(found)):
        raise ValueError(f"{wanted} also means {', '.join(wrong)}, which no adapter may sit on")


def expert_parameters(model: Any) -> list[str]:
    """Names of all stacks of experts."""
    return [
        name
        for name, _ in model.named_parameters()
        if name.endswith(tuple(f".experts.{stack}" for stack in lora_targets.EXPERTS))
    ]


def adapted(model: Any, adapter: Adapter) -> list[str]:
    """Names of all that gets an adapter: modules, and stacks of experts. Raises `ValueError`."""
    modules = target_modules(model, adapter.target_modules)
    return modules + (expert_parameters(model) if adapter.target_experts else [])


def attach(model: Any, adapter: Adapter, seed: int) -> PeftModel:
    """The model with a fresh adapter whose weights are float32, initialised from `seed`."""
    torch.manual_seed(seed)
    return get_peft_model(model, configuration(model, adapter))


def configuration(model: Any, adapter: Adapter) -> LoraConfig:
    """The adapter in PEFT's terms, which hold for the class with towers and for that without."""
    wanted = adapter.target_modules
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        use_dora=adapter.method == "dora",
        use_rslora=adapter.use_rslora,
        target_modules=pattern(wanted)
        if isinstance(wanted, tuple)
        else _of_modules(target_modules(model, wanted)),
        target_parameters=[f"experts.{stack}" for stack in lora_targets.EXPERTS]
        if adapter.target_experts
        else None,
        task_type="CAUSAL_LM",
    )


def _of_modules(names: list[str]) -> str:
    """Regular expression that means these modules of the layers and no others."""
    layers: dict[str, list[str]] = defaultdict(list)
    for name in names:
        _, number, projection = _within_decoder(name).split(".", 2)
        layers[projection].append(number)
    parts = [
        rf"({'|'.join(numbers)})\.{re.escape(projection)}" for projection, numbers in layers.items()
    ]
    return rf"model\.(language_model\.)?layers\.({'|'.join(parts)})"


def keep_float32(model: Any) -> None:
    """Hold trained weights in float32: in bfloat16 small updates are rounded away.

    TRL casts the adapter of a quantised model to bfloat16.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
