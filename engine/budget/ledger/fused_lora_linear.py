"""Bytes of a linear layer with LoRA in one operation: engine/kernels/linear."""

from engine.budget.ledger.linear import TRAINED, LinearLayers
from engine.budget.ledger.tape import Value


def lean(layers: LinearLayers, given: Value, inputs: int, outputs: int) -> Value:
    """The input is saved once; the adapter's own numbers are cast to the base's for it."""
    tape, case = layers.tape, layers.case
    r, width, rows = case.r, case.width, given.count // inputs
    narrow = tape.cast(given, width)
    needs_input = narrow.node is not None
    factors = [tape.block(r * n * width) for n in (inputs, outputs) if width == 2]
    saved, inner = narrow.detached(), tape.new(rows * r, width)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (saved, inner, factors)
        of_up = _gradient(layers, r * outputs)
        of_inner = tape.new(rows * r, width)
        of_down = _gradient(layers, r * inputs)
        of_given = tape.new(rows * inputs, width) if needs_input else None
        del of_inner, of_up, of_down
        layers.hold_gradient(r * (inputs + outputs))
        return [of_given, None]

    made = tape.new(rows * outputs, width)
    return tape.linked(made, [narrow, TRAINED], backward)


def _gradient(layers: LinearLayers, count: int) -> Value:
    """In the arithmetic's numbers, then in the adapter's float32."""
    low = layers.tape.new(count, layers.case.width)
    return layers.tape.new(count, 4) if layers.case.width == 2 else low
