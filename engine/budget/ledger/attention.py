"""Bytes of attention: the kernel that a card would choose, and what it holds inside."""

from dataclasses import dataclass

from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.library_kernels import (
    FLASH_HEAD_WIDTH,
    efficient_backward,
    flash_backward,
    rounded_up,
)
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma, Layer


@dataclass(frozen=True, slots=True)
class Shape:
    """One layer's attention in one case."""

    sequences: int
    length: int
    heads: int
    kv_heads: int
    head_width: int
    is_masked: bool
    """Whether it has a mask, which flash attention does not take."""

    @property
    def scores(self) -> int:
        """Numbers in all attention scores."""
        return self.sequences * self.heads * self.length * self.length


def has_mask_of_each_row(step: StepShape, gemma: Gemma) -> bool:
    """Whether rows of a batch are masked each in its own way: by its rows, or by its images."""
    return step.restarts or (step.images > 0 and gemma.masks_images)


def shape_of(step: StepShape, gemma: Gemma, layer: Layer) -> Shape:
    """A layer's attention. A mask is made where positions restart or the window is shorter."""
    is_short = layer.attention == "sliding" and step.length >= gemma.sliding_window
    is_masked = has_mask_of_each_row(step, gemma) or is_short or gemma.makes_every_mask
    return Shape(step.batch, step.length, gemma.heads, layer.kv_heads, layer.head_width, is_masked)


def attend(
    tape: Tape, step: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """Attention as transformers and PyTorch choose it.

    Flash attention takes 16 bits, heads of up to 256 and no mask. Where transformers expects it
    (no mask, heads of up to 256) keys are left shared, and a card without flash attention then
    computes in plain operations; else keys are repeated for the memory-efficient kernel. That one
    takes bfloat16 from the same cards on as flash attention does (`sdp_utils.cpp`,
    check_tensor_dtype): compute capability 8.0, and AMD's that have both; Radeon cards have
    neither. Apple's GPUs have no kernel with a backward pass (`scaled_dot_product_attention` in
    attention.cpp takes `_scaled_dot_product_attention_math_for_mps` without gradients only): all
    is plain there.
    """
    if step.is_autocast:
        query, key, value = (tape.cast(tensor, step.width) for tensor in (query, key, value))
    keeps_shared = not shape.is_masked and shape.head_width <= FLASH_HEAD_WIDTH
    if step.device == "cpu":
        return _blocked(tape, step, shape, query, key, value)
    if step.device == "mps":
        return _plain(tape, step, shape, query, key, value)
    if keeps_shared and step.has_flash and step.width == 2:
        return _flash(tape, shape, query, key, value)
    is_fused = step.has_efficient_attention and (step.has_flash or step.dtype != "bfloat16")
    if keeps_shared or not is_fused:
        return _plain(tape, step, shape, query, key, value)
    key, value = (_repeated(tape, shape, tensor) for tensor in (key, value))
    return _efficient(tape, step, shape, query, key, value)


def _repeated(tape: Tape, shape: Shape, x: Value) -> Value:
    """A copy for every query head; a single head is repeated without one."""
    if shape.heads == shape.kv_heads:
        return x
    count, width = x.count, x.width
    whole = count // shape.kv_heads * shape.heads
    if shape.kv_heads == 1:
        view = Value(x.block, whole, width)
        return tape.linked(view, [x], lambda g: [tape.new(count, width)])
    return tape.op(whole, width, [x], [(count, width)])


def _spread(tape: Tape, shape: Shape, x: Value) -> Value:
    """Repeated for a matrix product, which of several sequences needs copies in any case."""
    whole = _repeated(tape, shape, x)
    if shape.kv_heads > 1 or shape.heads == 1 or shape.sequences == 1:
        return whole
    count, width = whole.count, whole.width
    return tape.out(count, width, [whole], lambda g: [g[0]])


def _gradients(tape: Tape, *values: Value) -> list[Value | None]:
    return [tape.new(value.count, value.width) for value in values]


def _flash(tape: Tape, shape: Shape, query: Value, key: Value, value: Value) -> Value:
    """Backward holds dq_accum and softmax_d in float32, and keys and values of every query head."""
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * shape.length)
    sizes = flash_backward(
        shape.sequences, shape.length, shape.heads, shape.kv_heads, shape.head_width, query.width
    )

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (result, normaliser)
        within = [tape.block(size) for size in sizes]
        gradients = _gradients(tape, query, key, value)
        del within
        return gradients

    return tape.linked(out, [query, key, value], backward)


def _efficient(
    tape: Tape, step: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """Backward holds delta and the float32 tiles gradients are summed in (kernel_backward.h)."""
    bias = _bias(tape, step, shape) if shape.is_masked else None
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * rounded_up(shape.length, 32))
    sizes = efficient_backward(shape.sequences, shape.length, shape.heads, shape.head_width)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (bias, result, normaliser)
        within = [tape.block(size) for size in sizes]
        gradients = _gradients(tape, query, key, value)
        del within
        return gradients

    return tape.linked(out, [query, key, value], backward)


def _bias(tape: Tape, step: StepShape, shape: Shape) -> Block:
    """The boolean mask in the query's type, its rows padded to 16."""
    cells = shape.sequences * shape.length
    inverted = tape.block(cells * shape.length)
    bias = tape.block(cells * shape.length * step.width)
    del inverted
    if shape.length % 16:
        bias = tape.block(cells * rounded_up(shape.length, 16) * step.width)
    return bias


def _blocked(
    tape: Tape, step: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """PyTorch's flash attention on a CPU: like the GPU's, without memory of its own to speak of."""
    if shape.is_masked or shape.head_width > FLASH_HEAD_WIDTH:
        key, value = (_repeated(tape, shape, tensor) for tensor in (key, value))
    out = tape.new(query.count, query.width)
    result = out.block
    normaliser = tape.block(4 * shape.sequences * shape.heads * shape.length)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (result, normaliser)
        return _gradients(tape, query, key, value)

    return tape.linked(out, [query, key, value], backward)


def _plain(
    tape: Tape, step: StepShape, shape: Shape, query: Value, key: Value, value: Value
) -> Value:
    """`_scaled_dot_product_attention_math`: all scores, in float32 where inputs have 16 bits."""
    key, value = (_spread(tape, shape, tensor) for tensor in (key, value))
    before = query.width
    query, key, value = (tape.scaled(tape.cast(tensor, 4)) for tensor in (query, key, value))
    scores = _product(tape, shape.scores, query, key, 4)
    scores = tape.add(scores, scores.detached())
    weights = tape.new(shape.scores, 4)
    saved = weights.detached()
    weights = tape.linked(weights, [scores], lambda g: [tape.new(saved.count, 4)])
    del scores
    return tape.cast(_product(tape, query.count, weights, value, 4), before)


def _product(tape: Tape, count: int, left: Value, right: Value, width: int) -> Value:
    saved = left.detached(), right.detached()
    gradients: list[tuple[int, int] | None] = [(value.count, value.width) for value in saved]
    return tape.op(count, width, [left, right], gradients, saved=saved)
