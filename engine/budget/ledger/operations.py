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
        _ = (saved, roots)
        gradient, of_roots = tape.new(count, 4), tape.new(count, 4)
        del of_roots
        g.clear()
        steps = [tape.new(count, 4) for _ in range(4)]
        del steps
        return [gradient]

    normed = tape.out(count, 4, [wide], backward)
    del wide, means
    weighted = tape.scaled(normed)
    del normed
    return tape.cast(weighted, x.width)


def rotated(tape: Tape, x: Value) -> Value:
    """Rotary positions: x * cos + rotate_half(x) * sin."""
    straight = tape.scaled(x)
    negated = tape.block(x.count * x.width // 2)
    turned = tape.scaled(x)
    del negated
    crossed = tape.scaled(turned)
    del turned
    return tape.add(straight, crossed)


def activated(tape: Tape, x: Value) -> Value:
    """GELU, which keeps its input."""
    return tape.op(x.count, x.width, [x], [(x.count, x.width)], saved=x.detached())


def multiplied(tape: Tape, left: Value, right: Value) -> Value:
    """A product, which keeps each factor that the other's gradient needs."""
    size = left.count, left.width
    saved = (
        left.detached() if right.node is not None else None,
        right.detached() if left.node is not None else None,
    )
    gradients = [size if value.node is not None else None for value in (left, right)]
    return tape.op(*size, [left, right], gradients, saved=saved)
