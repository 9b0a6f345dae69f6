"""LoRA on the language model only, with every adapted module known by name."""

import re
from collections import defaultdict

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from engine.gemma import lora_targets, towers
from engine.gemma.lora_targets import Targets
from engine.model.protocols import LanguageModel
from engine.recipe.schema import Adapter

MAGNITUDE = "lora_magnitude_vector"
"""What PEFT calls DoRA's lengths of rows; a part of their names."""
_TOWER = re.compile(rf".*\b({'|'.join(towers.MODULES)})\b.*")


def pattern(projections: tuple[str, ...]) -> str:
    """Regular expression over module names that PEFT matches whole.

    It covers Gemma's text-only classes (model.layers...) and multimodal ones
    (model.language_model.layers...), and never a vision or audio tower.
    """
    names = "|".join(re.escape(name) for name in projections)
    return rf"model\.(language_model\.)?layers\.\d+\.((self_attn|mlp)\.)?({names})"


def target_modules(model: LanguageModel, targets: Targets) -> list[str]:
    """Names of the modules that get an adapter.

    Layers that share another's keys and values have no k_proj and v_proj. Raises `ValueError` where
    a name or an expression means none, and where an expression means something else.
    """
    projections = lora_targets.PROJECTIONS if isinstance(targets, str) else targets
    compiled = re.compile(pattern(projections))
    names = [name for name, _ in model.named_modules() if compiled.fullmatch(name)]
    if isinstance(targets, str):
        names = [name for name in names if lora_targets.matches(targets, _within_decoder(name))]
        _refuse_others(model, targets, names)
        absent = [] if names else [targets]
    else:
        there = {name.rpartition(".")[2] for name in names}
        absent = [name for name in targets if name not in there]
    if absent:
        raise ValueError(f"the model has no module named {', '.join(absent)} in its layers")
    return names


def _within_decoder(name: str) -> str:
    return name.removeprefix("model.").removeprefix("language_model.")


def _refuse_others(model: LanguageModel, expression: str, projections: list[str]) -> None:
    """Raises `ValueError` where the expression means tables, the head or routers too."""
    matches = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
        and not _TOWER.fullmatch(name)
        and lora_targets.matches(expression, _within_decoder(name))
    ]
    if others := sorted(set(matches) - set(projections)):
        raise ValueError(
            f"{expression} also means {', '.join(others)}, which no adapter may sit on"
        )


def expert_parameters(model: LanguageModel) -> list[str]:
    """Names of all stacks of experts."""
    endings = tuple(f".experts.{stack}" for stack in lora_targets.EXPERTS)
    return [name for name, _ in model.named_parameters() if name.endswith(endings)]


def adapted(model: LanguageModel, adapter: Adapter) -> list[str]:
    """Names of all that gets an adapter: modules, and stacks of experts. Raises `ValueError`."""
    modules = target_modules(model, adapter.target_modules)
    return modules + (expert_parameters(model) if adapter.target_experts else [])


def attach(model: LanguageModel, adapter: Adapter, seed: int) -> PeftModel:
    """The model with a fresh adapter whose weights are float32, initialised from `seed`.

    Raises `ValueError` where there is nothing to adapt, and where DoRA has no direction.
    """
    torch.manual_seed(seed)
    adapted_model = get_peft_model(model, configuration(model, adapter))
    _refuse_zero_rows(adapted_model)
    return adapted_model


def _refuse_zero_rows(model: PeftModel) -> None:
    """Raises `ValueError` where DoRA would divide by the norm of a row of zeros, to NaN."""
    for name, parameter in model.named_parameters():
        if MAGNITUDE in name and not bool(parameter.all()):
            module = name.removeprefix("base_model.model.").partition(f".{MAGNITUDE}")[0]
            raise ValueError(
                f"{module} has rows of zeros, by whose norm DoRA divides: set adapter.method = "
                '"lora", or leave it out of adapter.target_modules'
            )


def configuration(model: LanguageModel, adapter: Adapter) -> LoraConfig:
    """The adapter in PEFT's terms, which hold for the class with towers and for that without."""
    targets = adapter.target_modules
    experts = [f"experts.{stack}" for stack in lora_targets.EXPERTS]
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        use_dora=adapter.method == "dora",
        use_rslora=adapter.use_rslora,
        target_modules=pattern(targets)
        if isinstance(targets, tuple)
        else _pattern_of(target_modules(model, targets)),
        target_parameters=experts if adapter.target_experts else None,
        task_type="CAUSAL_LM",
    )


def _pattern_of(names: list[str]) -> str:
    """Regular expression that means these modules of the layers and no others."""
    layers: dict[str, list[str]] = defaultdict(list)
    for name in names:
        _, number, projection = _within_decoder(name).split(".", 2)
        layers[projection].append(number)
    parts = [
        rf"({'|'.join(numbers)})\.{re.escape(projection)}" for projection, numbers in layers.items()
    ]
    return rf"model\.(language_model\.)?layers\.({'|'.join(parts)})"


def start_as_trl(model: LanguageModel) -> None:
    """Round what an adapter over 4-bit weights starts from to bfloat16, and hold it in float32.

    TRL holds it in bfloat16, as the QLoRA paper does (arXiv 2305.14314, section 3), where small
    updates are rounded away. From the same start both can be compared step by step.
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        return
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and MAGNITUDE not in name:
            parameter.data = parameter.data.bfloat16().float()
