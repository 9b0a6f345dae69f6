"""A model with fewer layers of the same kinds, and what its memory tells of the whole one."""

import copy
from dataclasses import dataclass
from typing import Any

from engine.budget.step_shape import StepShape


@dataclass(frozen=True, slots=True)
class Cuts:
    """Two depths that differ by one period of the layer pattern."""

    short: int
    longer: int
    full: int
    from_start: int
    """First layers that are of the same kinds as the whole model's."""
    from_end: int


def layers_of(config: Any) -> int:
    """Decoder layers."""
    layers: int = config.get_text_config().num_hidden_layers
    return layers


def cuts(config: Any, case: StepShape) -> Cuts | None:
    """Two depths that end as the whole model does, or None where they would save nothing.

    None also where layers differ in more than their attention: without checkpointing each kind
    keeps different activations, layers that share keys and values have other weights, and an
    expression may adapt some layers and not others. A full attention layer has to stand before the
    last ones, since the mask that all of them read stays until the first of them is done.
    """
    text = config.get_text_config()
    full = text.num_hidden_layers
    period = _period(text.layer_types)
    if not case.gradient_checkpointing or period is None:
        return None
    if getattr(text, "num_kv_shared_layers", 0) or isinstance(case.target_modules, str):
        return None
    # The first layer, two with full attention, and what stands between and after these.
    short = period + full % period + 2
    if text.model_type.startswith("gemma4"):  # full attention has other weights: whole periods
        short += (full - short) % period
    if 2 * short + period >= full:
        return None
    return Cuts(short, short + period, full, from_start=1, from_end=period)


def shortened(config: Any, layers: int) -> Any:
    """A copy of a configuration with its first layer and the last ones."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    full = text.num_hidden_layers
    indices = [0, *range(full - layers + 1, full)]
    fields = text.to_dict()
    fields["num_hidden_layers"] = layers
    fields["layer_types"] = [text.layer_types[layer] for layer in indices]
    if fields.get("per_layer_config"):
        special = {int(layer): value for layer, value in fields["per_layer_config"].items()}
        fields["per_layer_config"] = {
            place: special[layer] for place, layer in enumerate(indices) if layer in special
        }
    shallow = type(text)(**fields)
    if text is config:
        return shallow
    config.text_config = shallow
    return config


def _period(layer_types: list[str]) -> int | None:
    """Layers from one full-attention layer to the next."""
    full = [place for place, kind in enumerate(layer_types) if kind == "full_attention"]
    return full[0] + 1 if full else None
