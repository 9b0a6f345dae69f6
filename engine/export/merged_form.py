"""A merged model: the base's own files with the updates in them, some rows in memory at a time.

Tensors keep their file, place, name and number format, so that every reader of the base reads the
merged model too; nothing is saved anew by a library.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch

from engine.budget.safetensors_size import StoredTensor, stored_tensors
from engine.export import blocks, chat_files, proof
from engine.export.export import Export
from engine.export.lora_updates import Update, Updates
from engine.export.staging import HashedFile, Staging, staged
from engine.export.survival import Rounding, Survival
from engine.model.adapter_switch import read_config
from engine.model.mapped_tensor import DTYPES
from engine.problems import Refusal
from engine.run import failpoint

_PIECE_BYTES = 1 << 22


def write(export: Export) -> None:
    """Write the folder. Raises `Refusal`, and `OSError` where a disk fails."""
    read_config(export.adapter, export.recipe.model)
    updates = Updates(export.adapter.path)
    weights = export.base.weights
    with staged(export.folder, sum(file.stat().st_size for file in weights)) as staging:
        survival = merge(export, updates, staging)
        has_template = chat_files.write_beside_weights(export, staging)
        failpoint.reached("export.beside")
        proved = proof.prove(export, staging.folder)
        dtypes = {stored_dtype(file, survival) for file in weights} - {""}
        remarks = [survival.remark("/".join(sorted(dtypes))), *proof.remarks(export, proved)]
        facts = {
            **export.facts(),
            "weights": len(updates),
            "template": "the one trained on" if has_template else "the base's own",
            "survival": survival.facts(),
            "proof": proved,
            "remarks": [remark for remark in remarks if remark],
        }
        staging.sign(facts)


def stored_dtype(file: Path, survival: Survival) -> str:
    """Number formats of the adapted weights in a file, in words."""
    stored = stored_tensors(file)
    return "/".join(sorted({stored[name].dtype for name in survival.by_weight if name in stored}))


def merge(export: Export, updates: Updates, staging: Staging) -> Survival:
    """Write all files of weights. Raises `Refusal` where an update belongs nowhere."""
    survival = Survival()
    with _one_thread():
        for file in export.base.weights:
            with file.open("rb") as stream, staging.file(file.name) as out:
                _merge_file(export, file, stream, updates, out, survival)
            failpoint.reached("export.weights")
    updates.require_all_used()
    return survival


@contextmanager
def _one_thread() -> Iterator[None]:
    """Work on blocks alone: threads would wait for each other, the longer the busier the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _merge_file(
    export: Export,
    file: Path,
    stream: IO[bytes],
    updates: Updates,
    out: HashedFile,
    survival: Survival,
) -> None:
    """Bytes of the base up to each adapted weight, then that weight."""
    stored = sorted(stored_tensors(file).items(), key=lambda item: item[1].first_byte)
    for name, tensor in stored:
        if (update := updates.of(name, tensor.shape)) is None:
            continue
        if tensor.dtype not in DTYPES:
            reason = f"{name} is stored as {tensor.dtype}, and updates are added to 16 or 32 bits"
            raise Refusal.of(str(file), reason, "Train on the base in 16 bits")
        export.tell("merging", f"{name} in {file.name}")
        _copy(stream, out, tensor.first_byte - stream.tell())
        survival.by_weight[name] = rounding = Rounding()
        _merge_tensor(stream, tensor, update, out, rounding)
        if not math.isfinite(rounding.error + rounding.update):
            reason = f"{name} with its update holds values that {tensor.dtype} doesn't"
            raise Refusal.of(str(export.adapter.path), reason, "Export an older checkpoint")
    _copy(stream, out, file.stat().st_size - stream.tell())


def _copy(stream: IO[bytes], out: HashedFile, num_bytes: int) -> None:
    while num_bytes > 0:
        piece = stream.read(min(num_bytes, _PIECE_BYTES))
        if not piece:
            raise OSError(f"{stream.name} ends before its last tensor does")
        out.write(piece)
        num_bytes -= len(piece)


def _merge_tensor(
    stream: IO[bytes], stored: StoredTensor, update: Update, out: HashedFile, rounding: Rounding
) -> None:
    """A matrix, or a stack of them, in blocks of rows."""
    for block in blocks.blocks(stream, stored, update):
        merged = block.exact.to(DTYPES[stored.dtype], copy=True)
        out.write(merged.view(torch.uint8).numpy())
        rounding.add(block.base, block.exact, merged.to(torch.float32, copy=True))
