"""The least memory a run needs: its weights, counted from the headers of the model's files."""

import json
import math
import struct
from pathlib import Path

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
_CAST = {"float32": 4, "float16": 2, "bfloat16": 2}


def weights_gib(folder: Path, dtype: str) -> float:
    """GiB of a model's tensors, floating ones held in `dtype` ("auto": as they are stored).

    Reads only safetensors headers: 8 bytes of little-endian length, then JSON with dtype and shape
    (https://github.com/huggingface/safetensors, "Format").
    """
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        for tensor in header.values():
            stored = _BYTES.get(tensor["dtype"], 1)
            width = (
                _CAST.get(dtype, stored) if tensor["dtype"] in {"F32", "F16", "BF16"} else stored
            )
            total += math.prod(tensor["shape"]) * width
    return total / 2**30
