"""A checkpoint in a Gemma's real shape with random weights: nothing is downloaded.

Zeros would not do: a card computes them at less power, and so faster, than numbers.
"""

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from engine.doctor.tiny_models import gemma3_tokenizer
from engine.gemma import catalog
from engine.gemma.shapes import Dialect
from engine.paths import EMBEDDED_WEIGHTS

_BYTES = 2
_NUMBERS = 1 << 24
"""Drawn once, and repeated: drawing billions takes longer than writing them."""
_DEVIATION = 0.02
_STEP_BYTES = 2 * 4099
"""Where the repeated numbers begin further on each time, so that no two rows are the same."""


def size_bytes(variant: str, layers: int | None = None) -> int:
    """Of the weights of a checkpoint."""
    shapes = _shapes(_config(variant, layers))
    return sum(map(math.prod, shapes.values())) * _BYTES


def write(variant: str, folder: Path, layers: int | None = None) -> Path:
    """Write configuration, tokenizer and weights in bfloat16; only the first `layers` of a model.

    Gives the folder.
    """
    config = _config(variant, layers)
    folder.mkdir(parents=True)
    is_third = catalog.variant_of(variant).dialect is Dialect.GEMMA3
    tokenizer = gemma3_tokenizer() if is_third else AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    _write(_shapes(config), folder / "model.safetensors")
    return folder


def _config(variant: str, layers: int | None) -> dict[str, Any]:
    config = catalog.config_of(variant)
    if layers is not None:
        text = config.get("text_config", config)
        text["num_hidden_layers"] = layers
        text["layer_types"] = text["layer_types"][:layers]
    return config


def _shapes(config: dict[str, Any]) -> dict[str, list[int]]:
    """Tensors of a checkpoint by name; a tied head is none of them."""
    settings = dict(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(settings.pop("model_type"), **settings), dtype=torch.bfloat16
        )
    model.tie_weights()
    saved = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    named = {**dict(model.named_parameters()), **buffers}
    return {name: list(tensor.shape) for name, tensor in named.items()}


def _write(shapes: dict[str, list[int]], file: Path) -> None:
    """A safetensors file of these shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        first, end = end, end + math.prod(shape) * _BYTES
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    drawn = torch.empty(_NUMBERS).normal_(0.0, _DEVIATION, generator=torch.manual_seed(0))
    numbers = drawn.to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            if len(shape) > 1:
                _repeat(stream, numbers, math.prod(shape) * _BYTES)
            else:
                ones = torch.ones(math.prod(shape), dtype=torch.bfloat16)
                stream.write(ones.view(torch.int16).numpy().tobytes())


def _repeat(stream: BinaryIO, numbers: bytes, size: int) -> None:
    """Write so many bytes; where the numbers end they begin again a bit further on."""
    first = 0
    while size:
        piece = numbers[first : first + size]
        stream.write(piece)
        size -= len(piece)
        first = (first + _STEP_BYTES) % len(numbers)
