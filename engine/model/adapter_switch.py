"""A run's model with one of its adapters: one copy of the weights, two that answer."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine import guarded
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer, folder_or_id
from engine.gemma.shapes import EMBEDDED
from engine.model.load import Loaded
from engine.model.patches.adapter_toggle import enable_adapters
from engine.model.protocols import AdaptedModel
from engine.paths import is_embedded_weights
from engine.problems import Refusal
from engine.recipe.schema import Model
from engine.run.adapters import CONFIG, WEIGHTS, Adapter

_HALVES = {torch.bfloat16, torch.float16}
_OTHER = "it was trained on another base"


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """An adapter as it was read; its files may be gone afterwards, as a run goes on."""

    adapter: Adapter
    config: LoraConfig
    tensors: dict[str, torch.Tensor]
    """By PEFT's names, in the types of the file."""


def read(adapter: Adapter, base: Model) -> AdapterWeights:
    """Read an adapter's files. Raises `Refusal` where they are torn or belong to another base."""
    config = read_config(adapter, base)
    try:
        tensors = load_file(adapter.path / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise _torn(adapter, f"it can't be read: {error}") from None
    return AdapterWeights(adapter, config, tensors)


def read_config(adapter: Adapter, base: Model) -> LoraConfig:
    """Read an adapter's configuration alone. Raises `Refusal` as `read` does."""
    missing = [name for name in (CONFIG, WEIGHTS) if not (adapter.path / name).is_file()]
    if missing:
        raise _torn(adapter, f"{adapter.path / missing[0]} is missing")
    try:
        trained_on = guarded.json_document(adapter.path / CONFIG)["base_model_name_or_path"]
        config = LoraConfig.from_pretrained(str(adapter.path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _torn(adapter, f"it can't be read: {error}") from None
    if not _is_base(str(trained_on), base):
        raise _foreign(adapter, f"{_OTHER}, {trained_on}, and the run's is {base.path}")
    return config


def _is_base(name: str, base: Model) -> bool:
    """Whether the base that an adapter names is a recipe's."""
    return is_embedded_weights(name) if base.path == EMBEDDED else name == folder_or_id(base)


def _torn(adapter: Adapter, reason: str) -> Refusal:
    fix = "Open an older checkpoint, or save a new one in the run"
    return Refusal.of(str(adapter.path), f"it is not whole: {reason}", fix, key="adapter")


def _foreign(adapter: Adapter, reason: str) -> Refusal:
    fix = "Put the run's own adapter back, or open another run"
    return Refusal.of(str(adapter.path), reason, fix, key="adapter")


@dataclass(frozen=True, slots=True)
class AdapterSwitch:
    """A model that answers with its adapter or without."""

    model: AdaptedModel
    tokenizer: Tokenizer
    template: Template
    dtype: torch.dtype
    layers: tuple[BaseTunerLayer, ...]

    @contextlib.contextmanager
    def use(self, side: str) -> Iterator[None]:
        """Answer as base or adapter, in the numbers that the run's own samples are made in."""
        enable_adapters(self.layers, side != "base")
        if self.dtype not in _HALVES:
            yield
            return
        with torch.autocast(self.model.device.type, dtype=self.dtype):
            yield


def switch_of(
    model: AdaptedModel, tokenizer: Tokenizer, template: Template, dtype: torch.dtype
) -> AdapterSwitch:
    """A switch for a model that has its adapter."""
    layers = tuple(layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    return AdapterSwitch(model.eval(), tokenizer, template, dtype, layers)


def attach(loaded: Loaded, template: Template, weights: AdapterWeights) -> AdapterSwitch:
    """Put an adapter on its base. Raises `Refusal` where it doesn't fit."""
    weights.config.inference_mode = True
    try:
        model = get_peft_model(loaded.model, weights.config)
    except ValueError as error:
        raise _foreign(weights.adapter, f"{_OTHER}: {error}") from None
    _fill(model, weights)
    return switch_of(model, loaded.tokenizer, template, loaded.dtype)


def _fill(model: AdaptedModel, weights: AdapterWeights) -> None:
    """Give the adapter its weights. Raises `Refusal` unless all of them arrive, and nothing lacks.

    PEFT leaves out weights whose names it doesn't find: those of the class without towers on the
    one with them have other names.
    """
    expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(model).items()}
    read = {name: tensor.shape for name, tensor in weights.tensors.items()}
    if wrong := sorted(name for name in expected | read if expected.get(name) != read.get(name)):
        misfit = f"{len(wrong)} of its weights don't fit {type(model.get_base_model()).__name__}"
        shapes = (
            f"it has {_summary(read, wrong)}, where there is room for {_summary(expected, wrong)}"
        )
        raise _foreign(weights.adapter, f"{_OTHER} or class of it: {misfit}: {shapes}")
    set_peft_model_state_dict(model, weights.tensors)
    arrived = get_peft_model_state_dict(model)
    lost = [name for name, each in weights.tensors.items() if not _is_same(arrived[name], each)]
    if lost:
        reason = f"{len(lost)} of its weights did not reach the model, such as {lost[0]}"
        raise _foreign(weights.adapter, reason)


def _summary(shapes: dict[str, torch.Size], wrong: list[str]) -> str:
    """How many modules an adapter has, and the first of its tensors that does not fit."""
    modules = {re.split(r"\.lora_", name)[0] for name in shapes}
    first = next((name for name in wrong if name in shapes), None)
    example = f", such as {first} {list(shapes[first])}" if first else ""
    return f"{len(modules)} modules{example}"


def _is_same(arrived: torch.Tensor, read: torch.Tensor) -> bool:
    """Whether weights are those of the file, in the file's type."""
    return torch.equal(arrived.to("cpu", read.dtype), read)
