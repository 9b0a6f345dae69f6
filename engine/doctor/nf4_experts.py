"""Whether experts in 4 bits train as the same numbers do in transformers' own class."""

from typing import Any

from bitsandbytes import functional as four_bit
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import difference, step
from engine.model.experts import QuantisedExperts
from engine.model.load import Loaded


@check(
    "NF4 experts against dequantised",
    limit=1e-3,
    advice='Set model.quantization = "none" for 26B-A4B and install the tested versions: its 4-bit '
    "experts give other outputs or gradients than their weights",
)
def nf4_experts(specimens: Specimens) -> Measured:
    """Loss and gradients through quantised experts, and through all of them spelled out."""
    packed, whole = (specimens.gemma("gemma4_moe", quantization="nf4") for _ in range(2))
    count = _spell_out(whole)
    found = [step(gemma, [alone(row) for row in rows(gemma)]) for gemma in (packed, whole)]
    return Measured(difference(*found) if count else 1.0, f"{count} mixtures are in 4 bits")


def _spell_out(gemma: Loaded) -> int:
    """Put transformers' experts in the place of quantised ones; how many there were."""
    mixtures = [
        (name, module)
        for name, module in gemma.model.named_modules()
        if isinstance(module, QuantisedExperts)
    ]
    for name, module in mixtures:
        gemma.model.set_submodule(name, _whole(gemma.model.config.get_text_config(), module))
    return len(mixtures)


def _whole(config: Any, packed: QuantisedExperts) -> Gemma4TextExperts:
    made = Gemma4TextExperts(config)
    for name, parameter in made.named_parameters():
        weight = getattr(packed, name)
        parameter.data = four_bit.dequantize_4bit(weight.data, weight.quant_state)
        parameter.requires_grad_(False)
    return made
