"""Checks of 4-bit weights: experts, and layers that have answered."""

import torch
from bitsandbytes import functional as four_bit
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextConfig, Gemma4TextExperts

from engine.doctor.check import Measurement, check
from engine.doctor.specimens import Specimens, sequences
from engine.doctor.trial import difference, step
from engine.model.experts import QuantisedExperts
from engine.model.load import Loaded


@check(
    "NF4 experts against dequantised",
    limit=1e-3,
    advice='Set model.quantization = "none" for 26B-A4B and install the tested versions: its 4-bit '
    "experts give other outputs or gradients than their weights",
)
def nf4_experts(specimens: Specimens) -> Measurement:
    """Loss and gradients through quantised experts, and through all of them dequantised."""
    packed, whole = (specimens.gemma("gemma4_moe", quantization="nf4") for _ in range(2))
    count = _dequantise(whole)
    steps = [step(gemma, sequences(gemma)) for gemma in (packed, whole)]
    return Measurement(difference(*steps) if count else 1.0, f"{count} mixtures are in 4 bits")


def _dequantise(gemma: Loaded) -> int:
    """Put transformers' experts in the place of quantised ones; gives how many there were."""
    config = gemma.model.config.get_text_config()
    mixtures = [
        (name, module)
        for name, module in gemma.model.named_modules()
        if isinstance(module, QuantisedExperts)
    ]
    for name, module in mixtures:
        gemma.model.set_submodule(name, _dequantised(config, module))
    return len(mixtures)


def _dequantised(config: Gemma4TextConfig, packed: QuantisedExperts) -> Gemma4TextExperts:
    experts = Gemma4TextExperts(config)
    for name, parameter in experts.named_parameters():
        weight = getattr(packed, name)
        parameter.data = four_bit.dequantize_4bit(weight.data, weight.quant_state)
        parameter.requires_grad_(False)
    return experts


@check(
    "NF4 layers after an answer",
    limit=1e-3,
    advice='Set model.quantization = "none" or samples.prompts = [], and install the tested '
    "versions: a 4-bit layer that answered once computes something else in training",
)
def nf4_after_an_answer(specimens: Specimens) -> Measurement:
    """Loss and gradients of a model that answered before its step, and of one that did not."""
    silent, answering = (specimens.gemma("gemma3", quantization="nf4") for _ in range(2))
    with torch.no_grad():
        ids = torch.tensor([sequences(answering)[0].input_ids], device=answering.device)
        answering.model(ids)
    return Measurement(difference(*(step(each, sequences(each)) for each in (silent, answering))))
