"""Bytes of attention: the kernel that a card would choose, and what it holds inside."""

from dataclasses import dataclass

from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.step_shape import StepShape
from engine.gemma.catalog import Gemma, Layer

_FLASH_WIDTH = 256
"""Widest head of PyTorch's flash attention (sdp_utils.cpp, check_head_dim_size_flash)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One layer's attention in one case."""

    sequences: int
    length: int
    heads: int
    kv_heads: int
    head_width: int
    is_masked: bool

    @property
    def scores(self) -> int:
        """Numbers in all attention scores."""
        return self.sequences * self.heads * self.length * self.length


def shape_of(case: StepShape, gemma: Gemma, layer: Layer) -> Shape:
    """A layer's attention. A mask is made where positions restart or the window is shorter."""
    is_short = layer.attention == "sliding" and case.length >= gemma.sliding_window
    is_masked = case.restarts or is_short or gemma.makes_every_mask
    return Shape(
        case.sequences, case.length, gemma.heads, layer.kv_heads, layer.head_width, is_masked
    )


def mask_rows(case: StepShape) -> int:
    """Masks in a batch: one of each sequence's own where its positions or padding call for it."""
    return 1 if case.objective == "sft" and not case.restarts else case.sequences


def attend(
    tape: Tape, case: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """Attention as transformers and PyTorch choose it.

    Flash attention takes 16 bits, heads of up to 256 and no mask. Where transformers expects it
    (no mask, heads of up to 256) keys are left shared, and a card without flash attention then
    computes in plain operations; else keys are repeated for the memory-efficient kernel.
    """
    if case.is_autocast:
        query, key, value = (tape.cast(given, case.width) for given in (query, key, value))
    if case.attention == "eager":
        return _eager(tape, case, shape, query, key, value)
    keeps_shared = not shape.is_masked and shape.head_width <= _FLASH_WIDTH
    if case.device == "cpu":
        return _blocked(tape, case, shape, query, key, value)
    if keeps_shared and case.has_flash and case.width == 2:
        return _flash(tape, shape, query, key, value)
    if keeps_shared:
        return _plain(tape, case, shape, query, key, value)
    key, value = (_repeated(tape, shape, given) for given in (key, value))
    return _efficient(tape, case, shape, query, key, value)


def _repeated(tape: Tape, shape: Shape, given: Value) -> Value:
    """A copy for every query head; a single head is repeated without one."""
    if shape.heads == shape.kv_heads:
        return given
    count, width = given.count, given.width
    whole = count // shape.kv_heads * shape.heads
    if shape.kv_heads == 1:
        view = Value(given.block, whole, width)
        return tape.linked(view, [given], lambda g: [tape.new(count, width)])
    return tape.out(whole, width, [given], lambda g: [tape.new(count, width)])


def _spread(tape: Tape, shape: Shape, given: Value) -> Value:
    """Repeated for a matrix product, which of several sequences needs copies in any case."""
    whole = _repeated(tape, shape, given)
    if shape.kv_heads > 1 or shape.heads == 1 or shape.sequences == 1:
        return whole
    count, width = whole.count, whole.width
    return tape.out(count, width, [whole], lambda g: [g[0]])


def _gradients(tape: Tape, *values: Value) -> list[Value | None]:
    return [tape.new(given.count, given.width) for given in values]


def _flash(tape: Tape, shape: Shape, query: Value, key: Value, value: Value) -> Value:
    """Backward holds dq_accum and softmax_d in float32, and keys and values of every query head."""
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * shape.length)
    rows = shape.sequences * shape.heads * _up(shape.length, 128)
    padded = 256 if 192 < shape.head_width <= 256 else _up(shape.head_width, 32)
    expanded = shape.sequences * shape.length * shape.heads * shape.head_width * query.width

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (result, normaliser)
        within = [tape.block(rows * padded * 4), tape.block(rows * 4)]
        if shape.heads != shape.kv_heads:
            within += [tape.block(expanded), tape.block(expanded)]
        found = _gradients(tape, query, key, value)
        del within
        return found

    return tape.linked(out, [query, key, value], backward)


def _efficient(
    tape: Tape, case: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """Backward holds delta and the float32 tiles gradients are summed in (kernel_backward.h)."""
    bias = _bias(tape, case, shape) if shape.is_masked else None
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * _up(shape.length, 32))
    sizes = _tiles(shape)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (bias, result, normaliser)
        within = [tape.block(size) for size in sizes]
        found = _gradients(tape, query, key, value)
        del within
        return found

    return tape.linked(out, [query, key, value], backward)


def _bias(tape: Tape, case: StepShape, shape: Shape) -> Block:
    """The boolean mask in the query's type, its rows padded to 16."""
    cells = shape.sequences * shape.length
    inverted = tape.block(cells * shape.length)
    bias = tape.block(cells * shape.length * case.width)
    del inverted
    if shape.length % 16:
        bias = tape.block(cells * _up(shape.length, 16) * case.width)
    return bias


def _tiles(shape: Shape) -> list[int]:
    width, groups = shape.head_width, shape.sequences * shape.heads
    side = 64 if width > 128 else 128
    tiles = groups * _up(shape.length, side) * _up(width, 128 if width > 64 else 64) * 4
    if width > side:
        splits = max(1, min(-(-shape.length // side), 200 // groups))
        tiles += 2 * groups * splits * side * _up(width, side) * 4
    return [groups * _up(shape.length, 32) * 4, tiles]


def _blocked(
    tape: Tape, case: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """PyTorch's flash attention on a CPU: like the GPU's, without memory of its own to speak of."""
    if shape.is_masked or shape.head_width > _FLASH_WIDTH:
        key, value = (_repeated(tape, shape, given) for given in (key, value))
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * shape.length)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (result, normaliser)
        return _gradients(tape, query, key, value)

    return tape.linked(out, [query, key, value], backward)


def _plain(
    tape: Tape, case: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """`_scaled_dot_product_attention_math`: all scores, in float32 where inputs have 16 bits."""
    key, value = (_spread(tape, shape, given) for given in (key, value))
    before = query.width
    query, key, value = (tape.scaled(tape.cast(given, 4)) for given in (query, key, value))
    scores = _product(tape, shape.scores, query, key, 4)
    scores = tape.add(scores, scores.detached())
    weights = tape.new(shape.scores, 4)
    kept = weights.detached()
    weights = tape.linked(weights, [scores], lambda g: [tape.new(kept.count, 4)])
    del scores
    return tape.cast(_product(tape, query.count, weights, value, 4), before)


def _eager(
    tape: Tape, case: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """transformers' eager attention: all scores, their softmax in float32."""
    key, value = (_spread(tape, shape, given) for given in (key, value))
    width = query.width
    scores = tape.scaled(_product(tape, shape.scores, query, key, width))
    scores = tape.add(scores, scores.detached())
    scores = tape.cast(scores, 4)
    soft = tape.new(shape.scores, 4)
    kept = soft.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        return [tape.new(kept.count, 4)]

    soft = tape.linked(soft, [scores], backward)
    del scores
    weights = tape.cast(soft, width)
    del soft
    out = _product(tape, query.count, weights, value, width)
    del weights
    count = out.count
    return tape.out(count, width, [out], lambda g: [tape.new(count, width)])


def _product(tape: Tape, count: int, left: Value, right: Value, width: int) -> Value:
    saved = left.detached(), right.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        return _gradients(tape, *saved)

    return tape.out(count, width, [left, right], backward)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
