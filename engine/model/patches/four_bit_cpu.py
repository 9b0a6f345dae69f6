"""bitsandbytes' 4-bit weights on processors with AVX-512: read right, and left as they are.

Measured with bitsandbytes 0.50.2 on a processor with AVX512-BF16. Its CPU kernel takes rows for
runs of whole blocks: where a row is no multiple of a block, scales of other blocks are applied, and
what it gives is off by a fifth. And a layer that answers without gradients once repacks its weights
for a faster product, with scales rounded to bfloat16; from then on that product is taken in
training too, and no gradient goes through it. Neither is seen in a loss.
"""

import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit

from engine.written_for import WrittenFor

_OPERATOR = "bitsandbytes::dequantize_4bit"
WRITTEN_FOR = WrittenFor(
    "bitsandbytes",
    "==0.50.*",
    (
        "torch.library:get_kernel",
        "torch:ops.bitsandbytes.dequantize_4bit.default",
        "bitsandbytes.nn.modules:has_avx512bf16",
    ),
)


@functools.cache
def original_kernel() -> Any:
    """bitsandbytes' own reader of 4-bit weights on a CPU, as it was before it is replaced."""
    return torch.library.get_kernel(_OPERATOR, "CPU")


@functools.cache
def read_block_by_block() -> torch.library.Library:
    """Let the CPU's kernel see each block as a row of its own, from now on in this process."""
    kernel = original_kernel()

    def dequantize(
        keys: torch.DispatchKeySet,
        packed: torch.Tensor,
        scales: torch.Tensor,
        block_size: int,
        kind: str,
        shape: Sequence[int],
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Packed bytes of `shape` values and a float32 scale per block, to `shape` in `dtype`."""

        def read(*part: object) -> torch.Tensor:
            values: torch.Tensor = kernel.call_boxed(keys, *part, dtype)
            return values

        if shape[-1] % block_size == 0 or shape[-1] % 2:
            return read(packed, scales, block_size, kind, shape)
        count, rest = divmod(math.prod(shape), block_size)
        stored = packed.contiguous().view(torch.uint8).view(-1)
        split = count * block_size // 2
        blocks = read(stored[:split], scales[:count], block_size, kind, (count, block_size))
        if not rest:
            return blocks.view(tuple(shape))
        last = read(stored[split:], scales[count:], block_size, kind, (1, rest))
        return torch.cat([blocks.view(-1), last.view(-1)]).view(tuple(shape))

    library = torch.library.Library("bitsandbytes", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of another kernel's being there, which is the point
        library.impl("dequantize_4bit", dequantize, "CPU", with_keyset=True, allow_override=True)
    return library


def keep_as_stored(model: torch.nn.Module) -> None:
    """Let no 4-bit layer of a model repack its weights when it answers."""
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
