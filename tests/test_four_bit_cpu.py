"""4-bit layers on a CPU: read right whatever their rows, and left as they are by an answer."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes.nn.modules as bitsandbytes_modules
import pytest
import torch
from bitsandbytes import functional as four_bit

from engine.model import lora
from engine.model.patches import four_bit_cpu
from engine.recipe.schema import Adapter
from tests import tiny

TOKENS = torch.arange(5, 25)[None]


def by_hand(packed: torch.Tensor, state: four_bit.QuantState) -> torch.Tensor:
    """Each half of a byte looked up, times the scale of its block."""
    codes = torch.stack([packed.view(-1) >> 4, packed.view(-1) & 15], 1).view(-1).long()
    count = math.prod(state.shape)
    weights = state.code[codes][:count] * state.absmax.repeat_interleave(state.blocksize)[:count]
    return weights.to(state.dtype).view(state.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("block_size", [64, 128])
@pytest.mark.parametrize(
    "shape", [(64, 64), (64, 32), (64, 96), (128, 640), (2, 32, 64), (3, 16, 96), (10, 34), (5, 7)]
)
def test_every_row_is_read_with_its_own_scales(
    shape: tuple[int, ...], block_size: int, dtype: torch.dtype
) -> None:
    """On processors with AVX-512 most of these fail with bitsandbytes alone."""
    four_bit_cpu.read_block_by_block()
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=dtype)
    packed, state = four_bit.quantize_4bit(weight, blocksize=block_size, quant_type="nf4")
    found, expected = four_bit.dequantize_4bit(packed, state), by_hand(packed, state)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)


def test_an_answer_leaves_the_weights_and_the_gradients_as_they_were(
    gemma_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a processor has AVX512-BF16, an answer would repack them for good."""
    monkeypatch.setattr(bitsandbytes_modules, "has_avx512bf16", lambda: True)
    gemma = tiny.loaded(gemma_folder("gemma3"), "nf4")
    model = lora.attach(gemma.model, Adapter(r=4, lora_alpha=8), 0)
    before = learned(model)
    model.eval()
    with torch.no_grad():
        model(TOKENS)
    after = learned(model)
    assert before.keys() == after.keys() != set()
    for name, gradient in before.items():
        assert torch.equal(after[name], gradient), name


def learned(model: Any) -> dict[str, torch.Tensor]:
    """Every gradient of the adapter."""
    model.train()
    model.zero_grad()
    torch.manual_seed(0)
    model(TOKENS).logits.float().square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
