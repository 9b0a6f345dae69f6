"""A checkpoint in a Gemma's real shape that takes nearly no disk: large tensors are holes.

Lookup tables, norms and routers hold random numbers, so that tokens differ and are routed apart;
projections and experts read as zeros. What a step takes in time and memory does not depend on them.
"""

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.doctor.tiny_models import gemma3_tokenizer
from engine.paths import EMBEDDED_WEIGHTS
from tools.simulator.configuration import configuration, source

FILLED_BELOW = 1 << 21
"""Elements of a tensor that is written out; larger ones are holes, but for the word table."""
_BYTES = 2


def make(variant: str, folder: Path) -> Path:
    """Write configuration, tokenizer and weights in bfloat16 of a variant; gives the folder."""
    found = source(variant)
    is_third = variant.startswith("gemma-3")
    tokenizer = gemma3_tokenizer() if is_third else AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(found))
    write(shapes(found), folder / "model.safetensors")
    return folder


def shapes(config: dict[str, Any]) -> dict[str, list[int]]:
    """Tensors of a checkpoint by name; a tied head is none of them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(config), dtype=torch.bfloat16)
    model.tie_weights()
    named = {**dict(model.named_parameters()), **_persistent(model)}
    return {name: list(tensor.shape) for name, tensor in named.items()}


def _persistent(model: Any) -> dict[str, torch.Tensor]:
    """Buffers that are saved."""
    saved = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in saved}


def write(found: dict[str, list[int]], file: Path) -> None:
    """A safetensors file of these shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in found.items():
        first, end = end, end + math.prod(shape) * _BYTES
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [first, end]}
    told = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(told).to_bytes(8, "little") + told)
        stream.truncate(8 + len(told) + end)
        for name, shape in found.items():
            if math.prod(shape) < FILLED_BELOW or name.endswith("embed_tokens.weight"):
                _fill(stream, 8 + len(told) + header[name]["data_offsets"][0], shape)


def _fill(stream: BinaryIO, place: int, shape: list[int]) -> None:
    """Norms about one, tables and routers about zero; a matrix by rows, to spare memory."""
    stream.seek(place)
    rows = shape[0] if len(shape) > 1 else 1
    mean, width = (0.0 if len(shape) > 1 else 1.0), math.prod(shape) // max(rows, 1)
    for first in range(0, rows, 4096):
        count = min(4096, rows - first)
        made = torch.empty(count, width).normal_(mean, 0.02).to(torch.bfloat16)
        stream.write(made.view(torch.int16).numpy().tobytes())
