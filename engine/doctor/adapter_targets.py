"""Whether adapters sit on the language model's projections, all of them, and nowhere else."""

from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer

from engine.doctor.check import Measured, check
from engine.doctor.specimens import KINDS, Specimens
from engine.doctor.trial import ADAPTER
from engine.model import lora


@check(
    "adapter targets",
    limit=0,
    advice="Install the tested versions: the adapter would touch a vision or audio tower, a "
    "lookup table or a router, or leave out a layer",
)
def adapter_targets(specimens: Specimens) -> Measured:
    """Modules adapted that should not be, and those left out, over all architectures."""
    wrong: list[str] = []
    for kind in KINDS:
        model = specimens.gemma(kind, has_towers=True).model
        names = {id(module): name for name, module in model.named_modules()}
        wanted = _projections(model)
        adapted = lora.attach(model, ADAPTER, 0)
        found = {
            id(module.get_base_layer())
            for module in adapted.modules()
            if isinstance(module, BaseTunerLayer)
        }
        wrong += [names.get(one, "a module that was not there") for one in wanted ^ found]
    return Measured(len(wrong), ", ".join(sorted(wrong)[:3]))


def _projections(model: Any) -> set[int]:
    """Every projection of attention and MLP in the decoder's layers, by identity."""
    decoder = getattr(model.model, "language_model", model.model)
    return {
        id(projection)
        for layer in decoder.layers
        for block in (layer.self_attn, layer.mlp)
        for name in ADAPTER.target_modules
        if (projection := getattr(block, name, None)) is not None
    }
