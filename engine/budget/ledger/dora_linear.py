"""Bytes of DoRA on a linear layer, as PEFT's `DoraLinearLayer.forward` runs it."""

from engine.budget.ledger.linear import TRAINED, LinearLayers
from engine.budget.ledger.tape import Block, Value


def dora(layer: LinearLayers, given: Value, base: Value, inputs: int, outputs: int) -> Value:
    """The layer's output. Magnitudes are float32, and so is all that they scale."""
    tape, case = layer.tape, layer.case
    inner = layer.dropped(layer.widened(given))
    width = base.width
    held = _weight_norm(layer, inner.width, inputs, outputs)
    update = layer.update(inner, inputs, outputs)
    scaled_base = base if not case.lora_dropout else _again(layer, inner, inputs, outputs)
    first = _by_magnitude(layer, scaled_base, outputs)
    second = tape.scaled(_by_magnitude(layer, update, outputs))
    both = tape.add(first, second)
    del first, second, held, update, scaled_base
    whole = _sum(layer, base, both)
    del both, base
    return whole if layer.is_4bit and case.is_autocast else tape.cast(whole, width)


def _weight_norm(layer: LinearLayers, width: int, inputs: int, outputs: int) -> list[Block]:
    """The norm of the adapted weight spells out the update from an identity matrix.

    Its parts stay until the layer is left: names in the function hold them.
    """
    tape, case = layer.tape, layer.case
    identity = tape.block(inputs * inputs * 4)
    held = [tape.block(inputs * inputs * case.width)] if case.is_autocast else [identity]
    held.append(tape.block(inputs * case.r * case.width))
    narrow = tape.block(inputs * outputs * case.width)
    del identity
    if width != case.width:
        held.append(tape.block(inputs * outputs * width))
    else:
        held.append(narrow)
    del narrow
    weight = layer.dequantised(inputs, outputs) if layer.is_4bit else None
    if width != case.width:
        weight = tape.block(inputs * outputs * width)
    if weight:
        held.append(weight)
    scaled = tape.block(inputs * outputs * width)
    adapted = tape.block(inputs * outputs * width)
    del scaled, adapted
    return held


def _again(layer: LinearLayers, given: Value, inputs: int, outputs: int) -> Value:
    """With dropout the base layer is run again on what is left; its weight is kept for that."""
    tape, case, rows = layer.tape, layer.case, given.count // inputs
    narrow = tape.cast(given, case.width)
    copied = layer.is_4bit or given.width != case.width
    weight = tape.block(inputs * outputs * case.width) if copied else None

    def backward(g: list[Value]) -> list[Value | None]:
        _ = weight
        return [tape.new(rows * inputs, case.width)]

    return tape.out(rows * outputs, case.width, [narrow], backward)


def _by_magnitude(layer: LinearLayers, given: Value, outputs: int) -> Value:
    """Times a number per output; both factors' gradients are whole before one is summed."""
    tape, count, width, saved = layer.tape, given.count, given.width, given.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        own, of_magnitude = tape.new(count, 4), tape.new(count, 4)
        g.clear()
        del of_magnitude
        return [tape.cast(own, width), None]

    return tape.out(count, 4, [given, TRAINED], backward)


def _sum(layer: LinearLayers, base: Value, both: Value) -> Value:
    tape, count, width = layer.tape, base.count, base.width

    def backward(g: list[Value]) -> list[Value | None]:
        own = g[0] if width == 4 else tape.new(count, width)
        return [own, g[0]]

    return tape.out(count, 4, [base, both], backward)
