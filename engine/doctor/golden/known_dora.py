"""A check of DoRA: outputs and gradients of its layers in a step, against those in float64 by hand.

A layer gives m / |W + s B A| (W + s B A) x, the norm taken by rows and held constant as gradients
are taken (Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024, equations 5 and 11).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from engine.data.batches import alone
from engine.doctor.check import Measurement, check
from engine.doctor.golden import truth
from engine.doctor.golden.by_hand import Weights
from engine.doctor.golden.figures import fill_adapter
from engine.doctor.golden.seeded_weights import uniform
from engine.doctor.specimens import Specimens
from engine.doctor.trial import RecordedStep, Trial
from engine.model.lora import MAGNITUDE
from engine.recipe.schema import Adapter

_ADAPTER = Adapter(method="dora", r=4, lora_alpha=8)
_KIND = "embedded"
_LIMIT = 1e-3
_TRAINED = ("lora_A", "lora_B", MAGNITUDE)
Results = Mapping[str, torch.Tensor | None]
"""What a layer gives, as `output`, and the gradient of each part that is trained."""


@dataclass(frozen=True, slots=True)
class _Rules:
    has_magnitudes: bool = True
    is_norm_of_base: bool = False
    is_norm_constant: bool = True


_RIGHT = _Rules()
_BUGS: Mapping[str, _Rules] = {
    "magnitudes play no part": replace(_RIGHT, has_magnitudes=False),
    "magnitudes are divided by the norms of the base's rows, not of adapted ones": replace(
        _RIGHT, is_norm_of_base=True
    ),
    "gradients flow through the norm, which DoRA holds constant": replace(
        _RIGHT, is_norm_constant=False
    ),
}


@check(
    "known step of DoRA",
    limit=_LIMIT,
    advice='Set adapter.method = "lora" and install the tested versions',
    is_golden=True,
)
def known_dora(specimens: Specimens) -> Measurement:
    """One step with magnitudes that are not the norms they start as.

    The smallest effect of a planted bug is 0.03, where the norm is that of the base's rows.
    """
    (row, *_) = truth.rows(_KIND, truth.document()["rows"])[1:]
    recorded = RecordedStep()
    trial = Trial(specimens.gemma(_KIND), [alone(row)], recorded, adapter=_ADAPTER)
    magnitudes = {
        name: p.clone() for name, p in trial.model.named_parameters() if MAGNITUDE in name
    }
    fill_adapter(trial.model, with_update=True)
    layers = {n: each for n, each in trial.model.named_modules() if isinstance(each, LoraLayer)}
    for name, parameter in trial.model.named_parameters():
        if name in magnitudes:
            changes = 1 + 0.2 * uniform(name, tuple(parameter.shape))
            parameter.data.copy_(magnitudes[name] * changes)
    passes = {name: _listened(layer) for name, layer in layers.items()}
    # Before the step changes them.
    weights = {name: _weights(layer) for name, layer in layers.items()}
    trial.train()
    gradients = recorded.gradients
    own = {
        name: {
            "output": passes[name]["output"],
            **{part: gradients.get(f"{name}.{part}.default.weight") for part in _TRAINED},
        }
        for name in layers
    }

    def error(rules: _Rules) -> float:
        return max(
            _error(own[name], _by_hand(weights[name], passes[name], rules)) for name in layers
        )

    figure = error(_RIGHT)
    bug = next((text for text, rules in _BUGS.items() if error(rules) <= _LIMIT), "")
    text = f"In layers with DoRA {bug}" if bug else "No known bug makes such layers of DoRA"
    return Measurement(figure, text)


def _listened(layer: LoraLayer) -> Weights:
    """What a layer gets and gives in its only pass, and the gradient of what it gives; float64."""
    witnessed: Weights = {}

    def listen(module: Any, args: Any, output: torch.Tensor) -> None:
        witnessed["inputs"] = args[0].detach().flatten(0, -2).double()
        witnessed["output"] = output.detach().flatten(0, -2).double()
        output.register_hook(
            lambda gradient: witnessed.update(gradient=gradient.flatten(0, -2).double())
        )

    layer.register_forward_hook(listen)
    return witnessed


def _weights(layer: Any) -> list[torch.Tensor]:
    """W (outputs, inputs), A, B and the magnitudes (outputs,), in float64."""
    parts = (layer.get_base_layer(), *(
        each["default"] for each in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector)
    ))  # fmt: skip
    return [part.weight.detach().double() for part in parts]


def _by_hand(weights: Sequence[torch.Tensor], witnessed: Weights, rules: _Rules) -> Weights:
    base, down, up, magnitudes = weights
    scale = _ADAPTER.lora_alpha / _ADAPTER.r
    whole = base + scale * up @ down
    norms = (base if rules.is_norm_of_base else whole).norm(dim=1)
    lengths = magnitudes / norms if rules.has_magnitudes else torch.ones_like(norms)
    direction = witnessed["inputs"] @ whole.T
    of_lengths = (witnessed["gradient"] * direction).sum(0)
    of_whole = lengths[:, None] * (witnessed["gradient"].T @ witnessed["inputs"])
    if not rules.is_norm_constant:
        of_whole -= (of_lengths * lengths / norms**2)[:, None] * whole
    return {
        "output": lengths * direction,
        _TRAINED[0]: scale * up.T @ of_whole,
        _TRAINED[1]: scale * of_whole @ down.T,
        MAGNITUDE: of_lengths / norms * rules.has_magnitudes,
    }


def _error(own: Results, right: Weights) -> float:
    """The largest relative difference; what has no gradient has one of zeros."""
    errors = []
    for part, each in right.items():
        figures = own[part]
        off = each if figures is None else figures.double() - each
        errors.append(float(off.norm()) / max(float(each.norm()), 1e-12))
    return math.inf if any(map(math.isnan, errors)) else max(errors)
