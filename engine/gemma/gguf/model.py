"""A Gemma in a GGUF file: its shape, its tensors, and what was lost when it was quantised."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from engine import guarded
from engine.gemma import config
from engine.gemma.gguf import configuration, files, header, tensor_names
from engine.gemma.gguf.files import Files
from engine.gemma.gguf.header import Tensor
from engine.gemma.gguf.tensor_types import EXACT
from engine.gemma.shapes import Gemma

FIX = "Give a GGUF of Gemma 3 or Gemma 4 that was fetched whole"

_MEANING = (
    "rounded before training: the base knows a little less than the weights that Google published, "
    "and the adapter is made for this file"
)


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What a file's head says of its Gemma; nothing of its weights was read."""

    files: Files
    config: dict[str, Any]
    gemma: Gemma
    tensors: dict[str, Tensor]
    """By their names in transformers."""

    def quantised(self) -> str:
        """Number formats of the weights in words, most first; empty where none loses much."""
        counts: Counter[str] = Counter()
        bits = 0.0
        for tensor in self.tensors.values():
            counts[tensor.type.name] += math.prod(tensor.shape)
            bits += math.prod(tensor.shape) * tensor.type.bits
        if not set(counts) - EXACT:
            return ""
        total = counts.total()
        shares = [
            f"{name} {count / total:.0%}" for name, count in counts.most_common()
            if count * 200 >= total
        ]  # fmt: skip
        return f"{bits / total:.1f} bits each ({', '.join(shares)})"


def of(path: str) -> GgufModel:
    """The model of a GGUF file, or of a package that holds one. Raises `Refusal`."""
    model = files.files_of(path)
    try:
        head = header.read(model)
        written = configuration.config_of(head)
        gemma = replace(config.read(written), name=model.name)
        return GgufModel(model, written, gemma, tensor_names.tensors(head, gemma))
    except (guarded.Unreadable, OSError) as error:
        raise files.refusal(path, guarded.reason(error), FIX) from None


def loss_of(path: str) -> str:
    """What quantisation means for who trains on a model; empty where nothing was lost by it.

    Raises `Refusal` where it is a GGUF file that can't be read.
    """
    formats = formats_of(path)
    return f"{formats}, {_MEANING}" if formats else ""


def formats_of(path: str) -> str:
    """How a model's weights were quantised before; empty where not. Raises as `loss_of`."""
    is_there = files.is_gguf(path) and not files.is_absent(path)
    return of(path).quantised() if is_there else ""
