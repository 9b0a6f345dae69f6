"""Gemmas built without modules that a run has no use for on its device.

The class stays that of the checkpoint, and so do the names of all other weights: adapters fit the
model as it is published. A module that is never built is never read from the files, and takes no
memory.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from transformers import PreTrainedModel
from transformers.models.gemma3.modeling_gemma3 import Gemma3Model
from transformers.models.gemma4.modeling_gemma4 import Gemma4Model, Gemma4TextModel
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedModel

from engine.gemma.lora_targets import PER_LAYER_TABLE
from engine.gemma.towers import MODULES
from engine.model.patches.replaced import changed_instances
from engine.model.protocols import LanguageModel
from engine.written_for import WrittenFor

_MULTIMODAL = (Gemma3Model, Gemma4Model, Gemma4UnifiedModel)
WRITTEN_FOR = WrittenFor(
    "transformers",
    ">=5.22,<5.24",
    (
        "transformers:PreTrainedModel._keys_to_ignore_on_load_unexpected",
        "transformers.models.gemma4.modeling_gemma4:Gemma4TextScaledWordEmbedding",
    ),
)


@contextmanager
def without_towers(is_text_only: bool) -> Iterator[None]:
    """Build models without vision and audio where only text will be read."""
    with ExitStack() as stack:
        for kind in _MULTIMODAL if is_text_only else ():
            stack.enter_context(changed_instances(kind, _drop_towers))
        yield


def _drop_towers(model: PreTrainedModel) -> None:
    for name in MODULES:
        if getattr(model, name, None) is not None:
            setattr(model, name, None)
            model._keys_to_ignore_on_load_unexpected.add(rf"(^|\.){name}\.")


def towers_of(model: LanguageModel) -> list[str]:
    """Names of the towers and projectors that a model has."""
    return [name for name, _ in model.named_modules() if name.rpartition(".")[2] in MODULES]


class AbsentTable(torch.nn.Module):
    """Stands for a table of per-layer embeddings while a model is loaded without it."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        """What looked-up rows are multiplied by."""


@contextmanager
def without_layer_table(is_on_host: bool) -> Iterator[None]:
    """Build models with an `AbsentTable` where the table is to stay in host memory."""
    with ExitStack() as stack:
        if is_on_host:
            stack.enter_context(changed_instances(Gemma4TextModel, _drop_layer_table))
        yield


def _drop_layer_table(model: PreTrainedModel) -> None:
    if hasattr(model, PER_LAYER_TABLE):
        setattr(
            model, PER_LAYER_TABLE, AbsentTable(getattr(model, PER_LAYER_TABLE).scalar_embed_scale)
        )
        model._keys_to_ignore_on_load_unexpected.add(PER_LAYER_TABLE)
