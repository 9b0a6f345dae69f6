"""A GGUF file's model as a checkpoint of transformers, in the user's cache.

Each file takes its place by a rename; config.json and model.safetensors come last, so what is there
is whole. Weights go through in pieces of some megabytes, whatever the model's size.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from engine import atomic, guarded, user_dirs
from engine.gemma import terms
from engine.gemma.gguf import files, header, model, tensor_names, tokenizer
from engine.gemma.gguf.header import Tensor
from engine.gemma.gguf.model import GgufModel
from engine.problems import Refusal
from engine.units import GIB

if TYPE_CHECKING:
    import numpy as np

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_LAYOUT = 1
"""Of what is written here; another one gets folders of its own."""
_PIECE_VALUES = 1 << 22
_STORED = {"F32": ("F32", 4), "F16": ("F16", 2)}
_OTHERS = ("BF16", 2)
"""What values that were quantised become: bfloat16 rounds them by 0.2 % of each at most, where
4 bits rounded them by several."""
Tell = Callable[[str], None]
"""Hears how far the work is."""


def silently(_detail: str) -> None:
    """Tell nobody."""


def described(path: str) -> Path:
    """The folder with configuration and tokenizer of a file's model, made where it is not there.

    Raises `Refusal`.
    """
    gguf = model.of(path)
    if terms.are_missing(gguf.gemma):
        raise Refusal(path, [terms.PROBLEM])
    folder = _folder(gguf)
    if not (folder / CONFIG).is_file():
        _describe(path, gguf, folder)
    return folder


def with_weights(path: str, tell: Tell = silently) -> Path:
    """The same folder with its weights. Raises `Refusal`, and `OSError` where a disk fails."""
    folder = described(path)
    file = folder / WEIGHTS
    if file.is_file():
        return folder
    gguf = model.of(path)
    _leave_no_pieces(file)
    _require_room(path, gguf, folder)
    with atomic.replacing(file) as out:
        _write(path, gguf, out, tell)
    return folder


def _folder(gguf: GgufModel) -> Path:
    folder = user_dirs.cache() / "gguf" / f"{gguf.files.identity()}-{_LAYOUT}"
    try:
        for each in (folder.parent.parent, folder.parent, folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_own = folder.stat().st_uid == os.geteuid()
    except OSError as error:
        is_own, reason = False, f"it can't be made: {guarded.reason(error)}"
    else:
        reason = "it belongs to another user"
    if not is_own:
        fix = "Set GEMMA_BENCH_CACHE to a folder of yours, with room for the model in 16 bits"
        raise Refusal.of(str(folder), reason, fix)
    return folder


def _describe(path: str, gguf: GgufModel, folder: Path) -> None:
    try:
        documents = tokenizer.files_of(header.read_whole(gguf.files), gguf.gemma)
    except (guarded.Unreadable, OSError) as error:
        raise files.refusal(path, guarded.reason(error), model.FIX) from None
    for name, document in {**documents, CONFIG: gguf.config}.items():
        text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
        atomic.write_whole(folder / name, text.encode("utf-8", "surrogateescape"))


def _leave_no_pieces(file: Path) -> None:
    """Remove what processes left that were killed while they wrote."""
    for piece in file.parent.glob(f"{file.name}.*.part"):
        writer = piece.name.removesuffix(".part").rpartition(".")[2]
        try:
            os.kill(int(writer), 0)
        except ProcessLookupError:
            piece.unlink(missing_ok=True)
        except (ValueError, OverflowError, PermissionError):
            # Another user's is alive, and what has no number is not from here.
            continue


def _require_room(path: str, gguf: GgufModel, folder: Path) -> None:
    needed = sum(_bytes(tensor) for tensor in gguf.tensors.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        reason = f"{path} takes {needed / GIB:.1f} GiB in 16 bits, and {free / GIB:.1f} are free"
        fix = "Free some, or set GEMMA_BENCH_CACHE to a folder on another disk"
        raise Refusal.of(str(folder), reason, fix)


def _stored(tensor: Tensor) -> tuple[str, int]:
    """Number format in the checkpoint, and its bytes."""
    return _STORED.get(tensor.type.name, _OTHERS)


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * _stored(tensor)[1]


def _write(path: str, gguf: GgufModel, out: IO[bytes], tell: Tell) -> None:
    """Header as in https://github.com/huggingface/safetensors ("Format"), then all tensors."""
    offsets: dict[str, dict[str, Any]] = {}
    end = 0
    for name, tensor in gguf.tensors.items():
        start, end = end, end + _bytes(tensor)
        kind = _stored(tensor)[0]
        offsets[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [start, end]}
    head = json.dumps({"__metadata__": {"format": "pt"}, **offsets}).encode()
    head += b" " * (-len(head) % 8)
    out.write(struct.pack("<Q", len(head)) + head)
    percent = -1
    for name, tensor in gguf.tensors.items():
        now = 100 * offsets[name]["data_offsets"][0] // end
        if now != percent:
            percent = now
            tell(f"reading {gguf.files.name} into the cache: {percent} %")
        for values in _values(path, gguf, name, tensor):
            out.write(values)


def _values(path: str, gguf: GgufModel, name: str, tensor: Tensor) -> Iterator[bytes]:
    """The values of a tensor as they are stored, rows of some megabytes at a time."""
    import gguf as library
    import numpy as np

    kind, adds_one = _stored(tensor)[0], tensor_names.adds_one(gguf.gemma, name)
    at_once = max(1, _PIECE_VALUES // tensor.shape[-1])
    with files.opened(gguf.files.splits[tensor.split]) as stream:
        stream.seek(tensor.first_byte)
        for first in range(0, tensor.rows, at_once):
            rows = min(at_once, tensor.rows - first)
            content = stream.read(rows * tensor.row_bytes)
            if len(content) != rows * tensor.row_bytes:
                raise _torn(path, name, "ends before it does")
            if tensor.type.name == kind and not adds_one:
                yield content
                continue
            raw = np.frombuffer(content, np.uint8).reshape(rows, tensor.row_bytes)
            # Damaged scales overflow; that is told below.
            with np.errstate(all="ignore"):
                values = library.quants.dequantize(
                    raw, library.GGMLQuantizationType(tensor.type_id)
                )
            if adds_one:
                values = values - np.float32(1)
            if not np.isfinite(values).all():
                raise _torn(path, name, "holds values that are no numbers")
            yield _as(kind, values)


def _as(kind: str, values: "np.ndarray[Any, Any]") -> bytes:
    """Values in 32 bits as the bytes of another format, rounded to the nearest, ties to even."""
    import numpy as np

    if kind == "F32":
        return values.astype("<f4").tobytes()
    if kind == "F16":
        return values.astype("<f2").tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype("<u2").tobytes()


def _torn(path: str, name: str, reason: str) -> Refusal:
    return files.refusal(path, f"its {name} {reason}", "Fetch the file anew")
