"""A run's model with one of its adapters: one copy of the weights, two that answer."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.data.rendering import Template
from engine.data.tokenizer import folder_or_id
from engine.model.load import Loaded
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal
from engine.recipe.schema import EMBEDDED, Model
from engine.run.adapters import CONFIG, WEIGHTS, Adapter

_HALVES = {torch.bfloat16, torch.float16}
_OTHER = "it was trained on another base"


@dataclass(frozen=True, slots=True)
class Weights:
    """An adapter as it was read; its files may be gone afterwards, as a run goes on."""

    adapter: Adapter
    config: LoraConfig
    tensors: dict[str, torch.Tensor]


def read(adapter: Adapter, base: Model) -> Weights:
    """An adapter's files. Raises `Refusal` where they are torn or belong to another base."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (adapter.path / name).is_file()]
    if missing:
        raise _torn(adapter, f"{adapter.path / missing[0]} is missing")
    try:
        told = json.loads((adapter.path / CONFIG).read_bytes())["base_model_name_or_path"]
        config = LoraConfig.from_pretrained(str(adapter.path))
        tensors = load_file(adapter.path / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _torn(adapter, f"it can't be read: {error}") from None
    if not _is_of(str(told), base):
        raise _foreign(adapter, f"{_OTHER}, {told}, and the run's is {base.path}")
    return Weights(adapter, config, tensors)


def _is_of(name: str, base: Model) -> bool:
    """Whether a base that an adapter names is a recipe's; the embedded one lies elsewhere."""
    if base.path == EMBEDDED:
        return name.endswith("/".join(EMBEDDED_WEIGHTS.parts[-4:]))
    return name == folder_or_id(base)


def _torn(adapter: Adapter, reason: str) -> Refusal:
    fix = "Open an older checkpoint, or save a new one in the run"
    return Refusal.of(str(adapter.path), f"it is not whole: {reason}", fix, key="adapter")


def _foreign(adapter: Adapter, reason: str) -> Refusal:
    fix = "Put the run's own adapter back, or open another run"
    return Refusal.of(str(adapter.path), reason, fix, key="adapter")


@dataclass(frozen=True, slots=True)
class AdapterSwitch:
    """A model that answers with its adapter or without."""

    model: Any
    tokenizer: Any
    template: Template
    dtype: torch.dtype
    layers: tuple[BaseTunerLayer, ...]

    @contextlib.contextmanager
    def side(self, side: str) -> Iterator[None]:
        """Answer as base or adapter, in the numbers that the run's own samples are made in."""
        # PEFT's own switches also visit every weight, which takes as long as a token.
        for layer in self.layers:
            layer._disable_adapters = side == "base"
        if self.dtype not in _HALVES:
            yield
            return
        with torch.autocast(self.model.device.type, dtype=self.dtype):
            yield


def attach(loaded: Loaded, template: Template, weights: Weights) -> AdapterSwitch:
    """Put an adapter on its base. Raises `Refusal` where it doesn't fit."""
    weights.config.inference_mode = True
    try:
        model = get_peft_model(loaded.model, weights.config)
    except ValueError as error:
        raise _foreign(weights.adapter, f"{_OTHER}: {error}") from None
    _fill(model, weights)
    layers = tuple(layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    return AdapterSwitch(model.eval(), loaded.tokenizer, template, loaded.dtype, layers)


def _fill(model: Any, weights: Weights) -> None:
    """Give the adapter its weights. Raises `Refusal` unless all of them arrive, and nothing lacks.

    PEFT leaves out weights whose names it doesn't find: those of the class without towers on the
    one with them have other names.
    """
    places = {name: place.shape for name, place in get_peft_model_state_dict(model).items()}
    given = {name: tensor.shape for name, tensor in weights.tensors.items()}
    if wrong := sorted(name for name in places | given if places.get(name) != given.get(name)):
        told = f"{len(wrong)} of its weights don't fit {type(model.get_base_model()).__name__}"
        names = f"it has {_told(given, wrong)}, where there is room for {_told(places, wrong)}"
        raise _foreign(weights.adapter, f"{_OTHER} or class of it: {told}: {names}")
    set_peft_model_state_dict(model, weights.tensors)
    held = get_peft_model_state_dict(model)
    lost = [name for name, one in weights.tensors.items() if not _is_same(held[name], one)]
    if lost:
        reason = f"{len(lost)} of its weights did not reach the model, such as {lost[0]}"
        raise _foreign(weights.adapter, reason)


def _told(shapes: dict[str, torch.Size], wrong: list[str]) -> str:
    """How many modules an adapter has, and the first of its tensors that does not fit."""
    modules = {re.split(r"\.lora_", name)[0] for name in shapes}
    first = next((name for name in wrong if name in shapes), None)
    example = f", such as {first} {list(shapes[first])}" if first else ""
    return f"{len(modules)} modules{example}"


def _is_same(held: torch.Tensor, given: torch.Tensor) -> bool:
    return torch.equal(held.to("cpu", given.dtype), given)
