"""What kernels of other packages hold inside, in bytes, and where they change their ways.

Read from the sources of PyTorch 2.13 (aten/src/ATen), bitsandbytes 0.50 and TRL 1.16; none of it
was measured on a card. Ledger and simulator both work by these, so that neither confirms the other
here.
"""

NF4_BLOCK, NF4_NESTED_BLOCK = 64, 256
"""Weights per scale in NF4 as bitsandbytes has it by default, and scales per scale where these are
quantised again (functional.py, quantize_4bit)."""
GEMM_4BIT_FUSED_ROWS = 512
"""Rows up to which bitsandbytes multiplies by 4-bit weights without spelling them out first
(backends/cuda/ops.py, gemm_4bit)."""
OPTIMIZER_BLOCK, OPTIMIZER_WHOLE_BELOW = 256, 4096
"""Numbers per scale of 8-bit optimizer state, and those below which a tensor's state stays in
float32 (optim/optimizer.py)."""
PAGED_FROM = 100_000
"""Numbers from which a paged optimizer puts state in managed memory (optim/optimizer.py)."""
FLASH_HEAD_WIDTH = 256
"""Widest head of PyTorch's flash attention (sdp_utils.cpp, check_head_dim_size_flash)."""
CUBLAS_HANDLES = 2
"""Of the forward and of the backward thread."""
TRL_TILE_TOKENS, TRL_TILE_VOCABULARY = 4096, 32_768
"""TRL's fused head: kernels/chunked_logprob.py, TOKEN_CHUNK_SIZE; trainer/utils.py, chunk size."""


def gemm_4bit(weights: int, scales: int, width: int) -> list[int]:
    """A product of many rows with a 4-bit matrix: its scales, spelled out twice, and itself.

    `scales` is 0 where they are not quantised; `width` is bytes of a number in the product.
    """
    return [*([scales * 4] * 2 if scales else []), weights * width]


def flash_backward(
    sequences: int, length: int, heads: int, kv_heads: int, head_width: int, width: int
) -> list[int]:
    """dq_accum and softmax_d in float32; keys and values per query head where these share them."""
    rows = sequences * heads * rounded_up(length, 128)
    padded_width = 256 if 192 < head_width <= 256 else rounded_up(head_width, 32)
    sizes = [rows * padded_width * 4, rows * 4]
    if kv_heads != heads:
        sizes += [sequences * length * heads * head_width * width] * 2
    return sizes


def efficient_backward(sequences: int, length: int, heads: int, head_width: int) -> list[int]:
    """delta, and the float32 tiles in which gradients are summed (kernel_backward.h)."""
    groups = sequences * heads
    side = 64 if head_width > 128 else 128
    columns = rounded_up(head_width, 128 if head_width > 64 else 64)
    tiles = groups * rounded_up(length, side) * columns * 4
    if head_width > side:
        splits = max(1, min(-(-length // side), 200 // groups))
        tiles += 2 * groups * splits * side * rounded_up(head_width, side) * 4
    return [groups * rounded_up(length, 32) * 4, tiles]


def rounded_up(size: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-size // unit) * unit
