"""Bytes of a linear layer with its adapter: the engine's fused LoRA, PEFT's LoRA, PEFT's DoRA."""

from engine.budget.ledger.linear import TRAINED, LinearLayers
from engine.budget.ledger.tape import Block, Value


def adapted(layers: LinearLayers, x: Value, inputs: int, outputs: int, name: str) -> Value:
    """The output of a layer of the language model, with its adapter where it has one."""
    is_adapted = name in layers.targets
    if is_adapted and layers.step.has_fused_lora:
        return _fused_lora(layers, x, inputs, outputs)
    base = layers.frozen(x, inputs, outputs, is_4bit=layers.is_4bit)
    if not is_adapted:
        return base
    if layers.step.method == "dora":
        return _dora(layers, x, base, inputs, outputs)
    return _lora(layers, x, base, inputs, outputs)


def _fused_lora(layers: LinearLayers, x: Value, inputs: int, outputs: int) -> Value:
    """One operation (`engine/kernels/linear.py`), which saves its input once.

    The adapter's own numbers are cast to the base's for it.
    """
    tape, step = layers.tape, layers.step
    r, width, rows = step.r, step.width, x.count // inputs
    narrow = tape.cast(x, width)
    needs_input = narrow.node is not None
    factors = [tape.block(r * n * width) for n in (inputs, outputs) if width == 2]
    saved, inner = narrow.detached(), tape.new(rows * r, width)

    def backward(g: list[Value]) -> list[Value | None]:
        _ = (saved, inner, factors)
        of_up = _fused_gradient(layers, r * outputs)
        of_inner = tape.new(rows * r, width)
        of_down = _fused_gradient(layers, r * inputs)
        of_x = tape.new(rows * inputs, width) if needs_input else None
        del of_inner, of_up, of_down
        layers.hold_gradient(r * (inputs + outputs))
        return [of_x, None]

    out = tape.new(rows * outputs, width)
    return tape.linked(out, [narrow, TRAINED], backward)


def _fused_gradient(layers: LinearLayers, count: int) -> Value:
    """In the arithmetic's numbers, then in the adapter's float32."""
    low = layers.tape.new(count, layers.step.width)
    return layers.tape.new(count, 4) if layers.step.width == 2 else low


def _lora(layers: LinearLayers, x: Value, base: Value, inputs: int, outputs: int) -> Value:
    tape = layers.tape
    wide = _widened(layers, x)
    update = _update(layers, _dropped(layers, wide), inputs, outputs)
    update = tape.scaled(update)
    return tape.cast(tape.add(base, update), base.width)


def _widened(layers: LinearLayers, x: Value) -> Value:
    """PEFT casts to the adapter's float32, but under autocast not for 4-bit layers."""
    return x if layers.is_4bit and layers.step.is_autocast else layers.tape.cast(x, 4)


def _dropped(layers: LinearLayers, x: Value) -> Value:
    """Dropout keeps a mask: of bytes on CUDA, elsewhere of its input's numbers (Dropout.cpp)."""
    if not layers.step.lora_dropout:
        return x
    mask = layers.tape.block(x.count * (1 if layers.step.device == "cuda" else x.width))
    return layers.tape.op(x.count, x.width, [x], [(x.count, x.width)], saved=mask)


def _update(layers: LinearLayers, x: Value, inputs: int, outputs: int) -> Value:
    """Down to the rank and up again; autograd keeps the input, the middle and both weights."""
    tape, r, width = layers.tape, layers.step.r, layers.step.width
    rows = x.count // inputs
    low = tape.cast(x, width)
    needs_input = low.node is not None
    saved = low.detached()
    down, up = layers.cast_weight(r * inputs), layers.cast_weight(r * outputs)

    def backward_down(g: list[Value]) -> list[Value | None]:
        _ = (saved, down)
        of_x = tape.new(rows * inputs, width) if needs_input else None
        layers.give_gradient(r * inputs)
        return [of_x, None]

    inner = tape.out(rows * r, width, [low, TRAINED], backward_down)
    del x, low
    saved_inner = inner.detached()

    def backward_up(g: list[Value]) -> list[Value | None]:
        _ = (saved_inner, up)
        of_inner = tape.new(rows * r, width)
        layers.give_gradient(r * outputs)
        return [of_inner]

    return tape.out(rows * outputs, width, [inner], backward_up)


def _dora(layers: LinearLayers, x: Value, base: Value, inputs: int, outputs: int) -> Value:
    """As PEFT's `DoraLinearLayer.forward`: magnitudes are float32, and so is all they scale."""
    tape, step = layers.tape, layers.step
    inner = _dropped(layers, _widened(layers, x))
    width = base.width
    norms = _weight_norm(layers, inner.width, inputs, outputs)
    update = _update(layers, inner, inputs, outputs)
    scaled_base = base if not step.lora_dropout else _rerun_base(layers, inner, inputs, outputs)
    first = _by_magnitude(layers, scaled_base, outputs)
    second = tape.scaled(_by_magnitude(layers, update, outputs))
    both = tape.add(first, second)
    del first, second, norms, update, scaled_base
    out = _dora_sum(layers, base, both)
    del both, base
    return out if layers.is_4bit and step.is_autocast else tape.cast(out, width)


def _weight_norm(layers: LinearLayers, width: int, inputs: int, outputs: int) -> list[Block]:
    """The norm of the adapted weight spells out the update from an identity matrix.

    Its parts stay until the layer is left: names in the function hold them.
    """
    tape, step = layers.tape, layers.step
    identity = tape.block(inputs * inputs * 4)
    named = [tape.block(inputs * inputs * step.width)] if step.is_autocast else [identity]
    named.append(tape.block(inputs * step.r * step.width))
    narrow = tape.block(inputs * outputs * step.width)
    del identity
    if width != step.width:
        named.append(tape.block(inputs * outputs * width))
    else:
        named.append(narrow)
    del narrow
    weight = layers.dequantised(inputs, outputs) if layers.is_4bit else None
    if width != step.width:
        weight = tape.block(inputs * outputs * width)
    if weight:
        named.append(weight)
    scaled = tape.block(inputs * outputs * width)
    whole = tape.block(inputs * outputs * width)
    del scaled, whole
    return named


def _rerun_base(layers: LinearLayers, x: Value, inputs: int, outputs: int) -> Value:
    """With dropout the base layer is run again on what is left; its weight is kept for that."""
    tape, step, rows = layers.tape, layers.step, x.count // inputs
    narrow = tape.cast(x, step.width)
    is_copied = layers.is_4bit or x.width != step.width
    weight = tape.block(inputs * outputs * step.width) if is_copied else None
    of_x = rows * inputs, step.width
    return tape.op(rows * outputs, step.width, [narrow], [of_x], saved=weight)


def _by_magnitude(layers: LinearLayers, x: Value, outputs: int) -> Value:
    """Times a number per output; both factors' gradients are whole before one is summed."""
    tape, count, width, saved = layers.tape, x.count, x.width, x.detached()

    def backward(g: list[Value]) -> list[Value | None]:
        _ = saved
        own, of_magnitude = tape.new(count, 4), tape.new(count, 4)
        g.clear()
        del of_magnitude
        return [tape.cast(own, width), None]

    return tape.out(count, 4, [x, TRAINED], backward)


def _dora_sum(layers: LinearLayers, base: Value, both: Value) -> Value:
    tape, count, width = layers.tape, base.count, base.width

    def backward(g: list[Value]) -> list[Value | None]:
        own = g[0] if width == 4 else tape.new(count, width)
        return [own, g[0]]

    return tape.out(count, 4, [base, both], backward)
