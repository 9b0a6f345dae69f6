"""A merged model as one GGUF file, written in a stream and read back tensor by tensor.

Updates are added in float32 and rounded once, to the file's own numbers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoConfig

from engine import guarded
from engine.budget.safetensors_size import StoredTensor, stored_tensors
from engine.export import blocks, chat_files, gguf_head
from engine.export.export import Export
from engine.export.gguf_head import Entry
from engine.export.lora_updates import Updates
from engine.export.staging import Staging, staged
from engine.gemma import config as gemma_config
from engine.gemma.gguf import files, tensor_names
from engine.gemma.gguf import model as gguf_model
from engine.gemma.shapes import Gemma
from engine.gemma.towers import MODULES
from engine.model.adapter_switch import read_config
from engine.model.mapped_tensor import DTYPES
from engine.problems import Refusal
from engine.run import failpoint

_EXACT_ALWAYS = ("ffn_gate_inp.weight", "per_layer_model_proj.weight")
"""Matrices that are small and that much hangs on; llama.cpp keeps routers so too."""
_LIMITS = {"F32": 0.0, "F16": 1e-3, "BF16": 4e-3, "Q8_0": 2e-2}
"""Length of what rounding may take of a tensor, over the tensor's."""
_ROPE = "rope_freqs.weight"
Values = Iterator[torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Source:
    """A weight: where the base has it, and what it becomes."""

    entry: Entry
    file: Path
    name: str
    stored: StoredTensor
    added: float
    factor: float


def write(export: Export) -> None:
    """Write the folder. Raises `Refusal`, and `OSError` where a disk fails."""
    read_config(export.adapter, export.recipe.model)
    updates = Updates(export.adapter.path)
    config = AutoConfig.from_pretrained(export.base.folder).get_text_config()
    gemma = gemma_config.read(guarded.json_document(export.base.folder / "config.json"))
    sources = list(_sources(export, gemma, config))
    factors = gguf_head.rope_factors(gemma, config)
    entries = [source.entry for source in sources]
    if factors:
        entries.insert(0, Entry(_ROPE, (len(factors),), "F32", 4 * len(factors)))
    template, tokenizer = chat_files.trained_template(export)
    text = tokenizer.chat_template or chat_files.for_inference(template.text)
    name = f"model-{export.number_format}.gguf"
    with staged(export.folder, sum(entry.num_bytes for entry in entries)) as staging:
        title = export.run.path.name.encode("utf-8", "replace").decode()
        head = gguf_head.head(
            staging.folder / "head", title, export.number_format, gemma, config, tokenizer, text,
            entries,
        )  # fmt: skip
        _write_tensors(export, staging, name, head, factors, sources, updates)
        updates.require_all_used()
        failpoint.reached("export.gguf")
        errors = _read_back(export, staging.folder / name, sources)
        facts = {
            **export.facts(),
            "weights": len(updates),
            "number_formats": _counts(entries),
            "template": "the base's own" if tokenizer.chat_template else "the one trained on",
            "read_back": {"tensors": len(sources), "largest_error": errors},
            "remarks": [_remark(errors, len(sources))],
        }
        staging.sign(facts)


def _sources(export: Export, gemma: Gemma, config: Any) -> Iterator[_Source]:
    """All weights of the language model, in the file's order. Raises `Refusal`."""
    stored = {
        _bare(name): (file, name, tensor)
        for file in export.base.weights
        for name, tensor in stored_tensors(file).items()
        if set(MODULES).isdisjoint(name.split("."))
    }
    for theirs, ours, shape in tensor_names.expected(gemma):
        file, name, tensor = stored.get(_bare(ours), (None, "", None))
        if file is None or tensor is None or tensor.shape != shape or tensor.dtype not in DTYPES:
            reason = f"{ours} is not there as {list(shape)} in 16 or 32 bits"
            raise Refusal.of(str(export.base.folder), reason, "Fetch the base anew")
        kind = _kind(theirs, shape, export.number_format)
        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        entry = Entry(theirs, shape, kind, math.prod(shape) // block * block_bytes)
        added = 1.0 if tensor_names.adds_one(gemma, ours) else 0.0
        factor = _query_factor(gemma, config) if theirs.endswith("attn_q_norm.weight") else 1.0
        yield _Source(entry, file, name, tensor, added, factor)


def _bare(name: str) -> str:
    """A weight's name without what differs between files and classes."""
    return ".".join(part for part in name.split(".") if part not in {"model", "language_model"})


def _kind(name: str, shape: tuple[int, ...], number_format: str) -> str:
    if len(shape) == 1 or name.endswith(_EXACT_ALWAYS):
        return "F32"
    return "F16" if number_format == "Q8_0" and shape[-1] % 32 else number_format


def _query_factor(gemma: Gemma, config: Any) -> float:
    """Gemma 3 may scale its queries by another width than llama.cpp, which has no word for it."""
    if gemma.generation == 4:
        return 1.0
    theirs = tensor_names.query_width(gemma)
    return math.sqrt(theirs / float(config.query_pre_attn_scalar))


def _values(source: _Source, updates: Updates) -> Values:
    """Rows of a weight as the file is to hold them, in float32: (rows, in)."""
    update = updates.of(source.name, source.stored.shape)
    with source.file.open("rb") as stream:
        stream.seek(source.stored.first_byte)
        for block in blocks.blocks(stream, source.stored, update):
            is_as_stored = source.added == 0 and source.factor == 1
            yield block.exact if is_as_stored else (block.exact + source.added) * source.factor


def _write_tensors(
    export: Export,
    staging: Staging,
    name: str,
    head: bytes,
    factors: list[float] | None,
    sources: list[_Source],
    updates: Updates,
) -> None:
    """The file: head, and each tensor at the next multiple of the alignment."""
    with staging.file(name) as out:
        out.write(head)
        if factors:
            out.write(np.array(factors, np.float32).tobytes())
            out.write(bytes(-4 * len(factors) % gguf.GGUF_DEFAULT_ALIGNMENT))
        for source in sources:
            export.tell("writing", f"{source.entry.name} as {source.entry.kind}")
            for values in _values(source, updates):
                out.write(_stored(export, source, values))
            out.write(bytes(-source.entry.num_bytes % gguf.GGUF_DEFAULT_ALIGNMENT))


def _stored(export: Export, source: _Source, values: torch.Tensor) -> bytes:
    """Values as the bytes of the weight's number format. Raises `Refusal`."""
    kind = source.entry.kind
    if kind == "BF16":
        stored = values.to(torch.bfloat16)
        content, is_sound = stored.view(torch.uint8).numpy().tobytes(), stored.isfinite().all()
    elif kind == "F16":
        stored = values.to(torch.float16)
        content, is_sound = stored.numpy().tobytes(), stored.isfinite().all()
    else:
        packed = gguf.quants.quantize(values.numpy(), gguf.GGMLQuantizationType[kind])
        content, is_sound = packed.tobytes(), values.isfinite().all()
    if not is_sound:
        reason = f"{source.name} with its update holds values that {kind} doesn't"
        raise Refusal.of(str(export.adapter.path), reason, "Export it with --type F32, or BF16")
    return content


def _read_back(export: Export, file: Path, sources: list[_Source]) -> dict[str, float]:
    """The largest error by number format, of all tensors as another reader finds them.

    Raises `RuntimeError` where one is not what was to be written.
    """
    there = gguf_model.of(str(file))
    updates = Updates(export.adapter.path)
    largest: dict[str, float] = {}
    with files.opened(there.files.splits[0]) as stream:
        names = [ours for _, ours, _ in tensor_names.expected(there.gemma)]
        for ours, source in zip(names, sources, strict=True):
            export.tell("reading back", source.entry.name)
            tensor = there.tensors[ours]
            stream.seek(tensor.first_byte)
            error = length = 0.0
            for values in _values(source, updates):
                rows = len(values) if len(source.entry.shape) > 1 else 1
                raw = np.frombuffer(stream.read(rows * tensor.row_bytes), np.uint8)
                values_there = gguf.quants.dequantize(
                    raw.reshape(rows, -1), gguf.GGMLQuantizationType(tensor.type_id)
                )
                expected = values.numpy().reshape(rows, -1)
                error += float(np.square(values_there - expected, dtype=np.float64).sum())
                length += float(np.square(expected, dtype=np.float64).sum())
            share = math.sqrt(error / length) if length else error
            if not share <= _LIMITS[tensor.type.name]:
                raise RuntimeError(f"{source.entry.name} is off by {share:.2g} as it is read back")
            largest[tensor.type.name] = max(largest.get(tensor.type.name, 0.0), round(share, 7))
    return largest


def _counts(entries: list[Entry]) -> dict[str, int]:
    kinds = [entry.kind for entry in entries]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _remark(errors: dict[str, float], count: int) -> str:
    by_kind = ", ".join(f"{kind} by {error:.2g}" for kind, error in errors.items() if error)
    rounded = f"; rounded, of each tensor at most: {by_kind}" if by_kind else ", bit for bit"
    return f"{count} tensors were read back{rounded}"
