"""Stacks of matrices in NF4: what bitsandbytes makes of the whole, in parts; products with them."""

from typing import Any

import pytest
import torch
from bitsandbytes import functional as four_bit
from torch.utils._python_dispatch import TorchDispatchMode

from engine.budget import expert_tiles
from engine.model import expert_matmul, nf4
from engine.model.patches import four_bit_cpu

SHAPES = [(8, 64, 64), (8, 64, 32), (6, 128, 96), (5, 128, 192)]
"""Scales of a matrix fill no nested block, and rows of the second and third no block of weights."""
WAYS = (expert_matmul.by_chunk, expert_matmul.by_row, expert_matmul.by_slab)
SMALL_BYTES = 20_000
ROWS = 40


@pytest.fixture(autouse=True, scope="module")
def read_right() -> None:
    """As loading a model on a CPU does: some of bitsandbytes' kernels misread such rows."""
    four_bit_cpu.read_block_by_block()


class SpelledOut(TorchDispatchMode):
    """Counts the weights that are spelled out, and the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.bitsandbytes.dequantize_4bit.default:
            self.counts.append(found.numel())
        return found


def stack(shape: tuple[int, int, int]) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(shape)


def whole(weight: torch.Tensor, *, is_double: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Packed and spelled out again, all at once, by bitsandbytes alone."""
    packed, state = four_bit.quantize_4bit(
        weight, blocksize=64, compress_statistics=is_double, quant_type="nf4"
    )
    return packed, four_bit.dequantize_4bit(packed, state)


def routed(experts: list[int], count: int) -> expert_matmul.Groups:
    chosen = torch.tensor(experts)
    return expert_matmul.grouped(chosen[torch.randint(len(experts), (ROWS,))].sort().values, count)


@pytest.mark.parametrize("is_double", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_by_matrix_is_the_same_as_at_once(
    shape: tuple[int, int, int], is_double: bool
) -> None:
    packed, spelled_out = whole(stack(shape), is_double=is_double)
    made = nf4.quantised(stack(shape), double_quantization=is_double)
    assert torch.equal(made.data, packed)
    assert torch.equal(nf4.matrices(made, 0, shape[0]), spelled_out)
    assert torch.equal(nf4.matrices(made, 2, 4), spelled_out[2:4])
    numbers = torch.tensor([4, 0, 0])
    assert torch.equal(nf4.matrices_at(made, numbers), spelled_out[numbers])


@pytest.mark.parametrize("shape", [(8, 64, 64), (5, 128, 192)])
def test_rows_and_columns_of_all_matrices(shape: tuple[int, int, int]) -> None:
    made, spelled_out = nf4.quantised(stack(shape)), whole(stack(shape))[1]
    scales = nf4.all_scales(made)
    assert torch.equal(nf4.rows_of_all(made, scales, 16, 48), spelled_out[:, 16:48])
    last = shape[2]
    assert torch.equal(
        nf4.columns_of_all(made, scales, last - 64, last), spelled_out[:, :, last - 64 :]
    )


def test_blocks_may_not_reach_over_the_end_of_a_matrix() -> None:
    with pytest.raises(ValueError, match="3 x 32"):
        nf4.quantised(stack((4, 3, 32)))


@pytest.mark.parametrize("limit", [1 << 28, SMALL_BYTES])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_gives_the_product(
    shape: tuple[int, int, int],
    way: expert_matmul.MatmulStrategy,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forward and back, at once and in parts, with experts that no row was routed to."""
    monkeypatch.setattr(expert_tiles, "SLAB_BYTES", limit)
    monkeypatch.setattr(expert_tiles, "CHUNK_BYTES", limit)
    made, spelled_out = nf4.quantised(stack(shape)), whole(stack(shape))[1]
    groups = routed([0, 1, 3], shape[0])
    of_rows = spelled_out[groups.experts]
    given, gradient = torch.randn(ROWS, shape[2]), torch.randn(ROWS, shape[1])
    forth = torch.einsum("sc,src->sr", given, of_rows)
    back = torch.einsum("sr,src->sc", gradient, of_rows)
    assert torch.allclose(way(given, made, groups, is_backward=False), forth, atol=1e-4)
    assert torch.allclose(way(gradient, made, groups, is_backward=True), back, atol=1e-4)


@pytest.mark.parametrize(
    ("limit", "most_matrices"), [(1 << 20, 3), (64 * 64 * 4 * 2, 2), (1, 1)], ids=str
)
def test_experts_without_rows_stay_packed(
    limit: int, most_matrices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more of the others are spelled out at once than a limit allows."""
    monkeypatch.setattr(expert_tiles, "CHUNK_BYTES", limit)
    made, groups = nf4.quantised(stack((8, 64, 64))), routed([1, 4, 5, 6], 8)
    with SpelledOut() as seen:
        expert_matmul.by_chunk(torch.randn(ROWS, 64), made, groups, is_backward=False)
    assert sum(seen.counts) == 4 * 64 * 64
    assert max(seen.counts) == most_matrices * 64 * 64


@pytest.mark.parametrize("back", [False, True])
def test_a_slab_is_no_larger_than_its_limit(back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 5 * 64 * 192 * 4
    monkeypatch.setattr(expert_tiles, "SLAB_BYTES", limit)
    made, groups = nf4.quantised(stack((5, 128, 192))), routed([0, 2], 5)
    with SpelledOut() as seen:
        expert_matmul.by_slab(
            torch.randn(ROWS, 128 if back else 192), made, groups, is_backward=back
        )
    assert sum(seen.counts) == 5 * 128 * 192
    assert len(seen.counts) == (3 if back else 2)
    assert max(seen.counts) * 4 <= limit


def multiplied(weight: Any, groups: expert_matmul.Groups) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    given = torch.randn(ROWS, 192, requires_grad=True)
    out = expert_matmul.multiply(given, weight, groups)
    out.square().sum().backward()
    assert given.grad is not None
    return out.detach(), given.grad


def reference(
    weight: torch.Tensor, groups: expert_matmul.Groups
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    given = torch.randn(ROWS, 192, requires_grad=True)
    out = torch.einsum("sc,src->sr", given, weight[groups.experts])
    out.square().sum().backward()
    assert given.grad is not None
    return out.detach(), given.grad


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_rows(
    way: expert_matmul.MatmulStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expert_matmul, "matmul_strategy", lambda *_: way)
    shape = (5, 128, 192)
    groups = routed([0, 3, 4], 5)
    found = multiplied(nf4.quantised(stack(shape)), groups)
    expected = reference(whole(stack(shape))[1], groups)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_nothing_spelled_out_is_kept_for_the_backward_pass() -> None:
    made, groups = nf4.quantised(stack((5, 128, 192))), routed([0, 3, 4], 5)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        expert_matmul.multiply(torch.randn(ROWS, 192, requires_grad=True), made, groups)
    assert not kept


@pytest.mark.parametrize(
    ("rows", "capability", "dtype", "expected"),
    [
        (4, (8, 0), torch.bfloat16, "by_row"), (4, (9, 0), torch.bfloat16, "by_row"),
        (5, (9, 0), torch.bfloat16, "by_slab"), (500, (10, 3), torch.bfloat16, "by_slab"),
        (500, (9, 0), torch.float32, "by_chunk"), (500, (8, 0), torch.bfloat16, "by_chunk"),
        (500, (8, 9), torch.bfloat16, "by_chunk"), (500, (12, 0), torch.bfloat16, "by_chunk"),
        (5, (7, 5), torch.float32, "by_chunk"),
    ],
    ids=str,
)  # fmt: skip
def test_a_card_takes_slabs_where_it_has_a_kernel_for_groups(
    rows: int, capability: tuple[int, int], dtype: torch.dtype, expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The rows only claim to be on a card: shapes, types and devices are asked for."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    with FakeTensorMode():
        given = torch.empty((rows, 8), device="cuda", dtype=dtype)
    strategy: Any = expert_matmul.matmul_strategy(given, 8)
    assert strategy.__name__ == expected
    assert not expert_matmul.has_fast_groups(torch.empty(rows, 8, dtype=dtype, device="meta"))
    monkeypatch.delattr(torch.nn.functional, "grouped_mm")
    strategy = expert_matmul.matmul_strategy(given, 8)
    assert strategy.__name__ == expected.replace("slab", "chunk")
