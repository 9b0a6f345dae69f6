"""Bytes of the operations that Gemma's layers are made of."""

from engine.budget.ledger.tape import Tape, Value


def norm(tape: Tape, x: Value, width: int) -> Value:
    """RMSNorm: in float32, its mean square and its weight, and back."""
    count, rows = x.count, x.count // width
    wide = tape.cast(x, 4)
    squares, means = tape.new(count, 4), tape.block(rows * 4)
    del squares
    roots = tape.block(rows * 4)
    saved = wide

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        gradient, of_roots = tape.new(count, 4), tape.new(count, 4)
        del of_roots
        g.clear()
        steps = [tape.new(count, 4) for _ in range(4)]
        del steps
        return [gradient]

    def backward_with_roots(g: list[Value]) -> list[Value | None]:
        _ = roots
        return backward(g)

    normed = tape.out(count, 4, [wide], backward_with_roots)
    del wide, means
    weighted = tape.scaled(normed)
    del normed
    return tape.cast(weighted, x.width)


def rotated(tape: Tape, x: Value) -> Value:
    """Rotary positions: x * cos + rotate_half(x) * sin."""
    count, width = x.count, x.width
    straight = tape.scaled(x)
    negated = tape.block(count * width // 2)
    turned = tape.out(count, width, [x], lambda g: [tape.new(count, width)])
    del negated
    crossed = tape.scaled(turned)
    del turned
    return tape.add(straight, crossed)


def activated(tape: Tape, x: Value) -> Value:
    """GELU, which keeps its input."""
    count, width, saved = x.count, x.width, x.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        return [tape.new(count, width)]

    return tape.out(count, width, [x], backward)


def multiplied(tape: Tape, left: Value, right: Value) -> Value:
    """A product, which keeps each factor that the other's gradient needs."""
    count, width = left.count, left.width
    needs_left, needs_right = left.node is not None, right.node is not None
    saved = (left.detached() if needs_right else None, right.detached() if needs_left else None)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        return [tape.new(count, width) if needed else None for needed in (needs_left, needs_right)]

    return tape.out(count, width, [left, right], backward)
