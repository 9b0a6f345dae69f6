"""Bytes of a mixture of experts, as transformers' grouped matrix products run it."""

from engine.budget.expert_tiles import Stack
from engine.budget.ledger.linear import LinearLayers
from engine.budget.ledger.nf4_experts import Packed
from engine.budget.ledger.operations import norm
from engine.budget.ledger.tape import Block, Tape, Value
from engine.gemma.shapes import Gemma


def mixture(projections: LinearLayers, gemma: Gemma, dense: Value, residual: Value) -> Value:
    """The MLP's output and the experts' together; both read the layer's residual stream."""
    tape, experts, width = projections.tape, gemma.experts, gemma.hidden_size
    assert experts is not None
    tokens = residual.count // width
    first = norm(tape, dense, width)
    del dense
    weights = _routed(tape, gemma, residual)
    normed = norm(tape, residual, width)
    pairs = tokens * experts.per_token
    order = tape.block(pairs * 8)
    inverse = tape.block(pairs * 8)
    of_normed = tokens * width, normed.width
    selected = [tape.op(pairs * width, normed.width, [normed], [of_normed], saved=order)]
    del normed
    out = _experts(projections, gemma, selected, pairs)
    selected.clear()
    second = _combined(tape, gemma, out, weights, tokens, inverse)
    del out, weights
    return tape.add(first, norm(tape, second, width))


def _routed(tape: Tape, gemma: Gemma, residual: Value) -> Value:
    """Weights of each token's experts, in float32."""
    experts, width = gemma.experts, gemma.hidden_size
    assert experts is not None
    tokens = residual.count // width
    scaled = tape.scaled(tape.scaled(norm(tape, residual, width)))
    of_scaled = scaled.count, scaled.width
    scores = tape.op(tokens * experts.count, scaled.width, [scaled], [of_scaled])
    del scaled
    wide = tape.cast(scores, 4)
    del scores
    cells = tokens * experts.count
    probabilities = tape.new(cells, 4)
    saved = probabilities.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        return [tape.new(cells, 4)]

    probabilities = tape.linked(probabilities, [wide], backward)
    del wide
    expert_indexes = tape.block(tokens * experts.per_token * 8)
    return tape.op(
        tokens * experts.per_token, 4, [probabilities], [(cells, 4)], saved=expert_indexes
    )


def _experts(projections: LinearLayers, gemma: Gemma, selected: list[Value], pairs: int) -> Value:
    """transformers holds its input for as long as this takes; 4-bit experts let it go."""
    tape = projections.tape
    experts, width, size = gemma.experts, gemma.hidden_size, selected[0].width
    assert experts is not None
    inner = experts.intermediate_size
    first = _weight(projections, experts.count, 2 * inner, width)
    gate_up = first.multiply(selected[0], pairs * 2 * inner)
    if isinstance(first, Packed):
        selected.clear()
    narrow, wide = (pairs * inner, size), (pairs * 2 * inner, size)
    active = tape.op(*narrow, [gate_up], [wide], saved=gate_up.detached())
    factors = active.detached(), gate_up.detached()  # by name until the end, as in transformers
    product = tape.op(*narrow, [active, gate_up], [narrow, wide], saved=factors)
    del active, gate_up
    second = _weight(projections, experts.count, width, inner)
    return second.multiply(product, pairs * width)


def _weight(projections: LinearLayers, count: int, rows: int, columns: int) -> "_Weight | Packed":
    step = projections.step
    if step.expert_block_size:
        stack = Stack(count, rows, columns, step.width, step.expert_block_size)
        return Packed(projections.tape, step, stack)
    return _Weight(projections, count * rows * columns, step.r * count * (rows + columns))


class _Weight:
    """One matrix of all experts in 16 bits, for a product per expert."""

    def __init__(self, projections: LinearLayers, count: int, adapter: int) -> None:
        self.projections, self.count, self.adapter = projections, count, adapter
        step, tape = projections.step, projections.tape
        self.is_adapted = step.adapts_experts
        self.block: Block | None = None
        if self.is_adapted:  # PEFT folds the update into a copy
            factors = tape.block(adapter * step.width)
            self.block = tape.block(count * step.width)
            del factors

    def multiply(self, x: Value, count: int) -> Value:
        """A product per expert; the gradient of an adapted weight is whole before it is folded."""
        tape, step, before, width = (
            self.projections.tape,
            self.projections.step,
            x.count,
            x.width,
        )
        saved = x.detached() if self.is_adapted else None

        def backward(g: list[Value]) -> list[Value | None]:
            _ = (self.block, saved)
            of_x = tape.new(before, width)
            if self.is_adapted:
                tape.block(self.count * step.width)
                self.projections.give_gradient(self.adapter)
            return [of_x]

        return tape.out(count, width, [x], backward)


def _combined(
    tape: Tape, gemma: Gemma, out: Value, weights: Value, tokens: int, inverse: Block
) -> Value:
    """Weighted in float32, put back in order, and summed over the experts of a token."""
    count, size, pairs = out.count, out.width, weights.count
    saved = out.detached()

    def backward_weighted(g: list[Value]) -> list[Value | None]:
        _ = saved
        product, passing = tape.new(count, 4), tape.new(count, 4)
        del passing
        narrow = tape.new(count, size)
        del product
        return [narrow, tape.new(pairs, 4)]

    weighted = tape.out(count, 4, [out, weights], backward_weighted)
    ordered = tape.op(count, 4, [weighted], [(count, 4)], saved=inverse)
    del weighted
    summed = tape.op(tokens * gemma.hidden_size, 4, [ordered], [(count, 4)])
    del ordered
    return tape.cast(summed, size)
