"""Bytes of a linear layer with its adapter: PEFT's LoRA and DoRA, bitsandbytes' 4-bit weights."""

from engine.budget.ledger.tape import Block, Node, Tape, Value
from engine.budget.step_shape import StepShape

BLOCK_SIZE = 64
"""Weights per scale in NF4; bitsandbytes' default."""
_FUSED_ROWS = 512
"""Rows up to which bitsandbytes 0.50 multiplies by 4-bit weights without spelling them out."""

TRAINED = Value(None, 0, 4, Node([], None))
"""Stands for an adapter's weight, so that gradients are wanted of what it is multiplied with."""


class LinearLayers:
    """The linear layers of one step, on one tape."""

    def __init__(self, tape: Tape, case: StepShape) -> None:
        self.tape, self.case = tape, case
        self.targets = frozenset[str]()
        """Names of those that have an adapter in the layer that runs."""
        self.is_4bit = case.quantization == "nf4"
        self.casts: list[Block] = []
        """Adapter weights that autocast keeps in 16 bits until its context is left."""
        self.gradients: list[Block] = []
        """Of adapter weights, held until the optimizer's step."""
        self.adapts = True
        """False while the reference model runs, which has no adapter."""

    def linear(self, given: Value, inputs: int, outputs: int, *, is_4bit: bool) -> Value:
        """A frozen layer; 4-bit weights are spelled out for many rows, and always backward.

        Autocast multiplies in 16 bits; bitsandbytes gives back the type that it was given.
        """
        tape, rows, width = self.tape, given.count // inputs, self.case.width
        narrow = tape.cast(given, width)
        spelled_out: object = None
        if is_4bit and rows > _FUSED_ROWS and self.case.device == "cuda":
            spelled_out = self._within(inputs, outputs)

        def backward(g: list[Value]) -> list[Value | None]:
            spelled_out = self.dequantised(inputs, outputs) if is_4bit else None  # noqa: F841
            return [tape.new(rows * inputs, width)]

        made = tape.new(rows * outputs, width)
        del spelled_out
        made = tape.linked(made, [narrow], backward)
        return tape.cast(made, given.width) if is_4bit else made

    def adapted(self, given: Value, inputs: int, outputs: int, name: str) -> Value:
        """A layer of the language model with its adapter, where it has one."""
        is_adapted = name in self.targets and self.adapts
        if is_adapted and self.case.has_lean_adapter:
            from engine.budget.ledger.fused_lora_linear import lean

            return lean(self, given, inputs, outputs)
        base = self.linear(given, inputs, outputs, is_4bit=self.is_4bit)
        if not is_adapted:
            return base
        if self.case.method == "dora":
            from engine.budget.ledger.dora_linear import dora

            return dora(self, given, base, inputs, outputs)
        return self._lora(given, base, inputs, outputs)

    def _within(self, inputs: int, outputs: int) -> list[Block]:
        """What `gemm_4bit` holds inside (bitsandbytes 0.50, backends/cuda/ops.py)."""
        scales = inputs * outputs // BLOCK_SIZE * 4
        blocks = [scales, scales] if self.case.double_quantization else []
        return [self.tape.block(n) for n in (*blocks, inputs * outputs * self.case.width)]

    def dequantised(self, inputs: int, outputs: int) -> Block:
        """The weight in 16 bits; its scales are spelled out before it and given back after."""
        is_double = self.case.double_quantization
        scales = self.tape.block(inputs * outputs // BLOCK_SIZE * 4) if is_double else None
        weight = self.tape.block(inputs * outputs * self.case.width)
        del scales
        return weight

    def widened(self, given: Value) -> Value:
        """PEFT casts to the adapter's float32, but under autocast not for 4-bit layers."""
        keeps = self.is_4bit and self.case.is_autocast
        return given if keeps else self.tape.cast(given, 4)

    def _lora(self, given: Value, base: Value, inputs: int, outputs: int) -> Value:
        tape = self.tape
        wide = self.widened(given)
        update = self.update(self.dropped(wide), inputs, outputs)
        update = tape.scaled(update)
        return tape.cast(tape.add(base, update), base.width)

    def update(self, given: Value, inputs: int, outputs: int) -> Value:
        """Down to the rank and up again; autograd keeps the input, the middle and both weights."""
        tape, r, width = self.tape, self.case.r, self.case.width
        rows = given.count // inputs
        low = tape.cast(given, width)
        needs_input = low.node is not None
        saved = low.detached()
        down, up = self._weight(r * inputs), self._weight(r * outputs)

        def backward_down(g: list[Value]) -> list[Value | None]:
            _ = (saved, down)
            made = tape.new(rows * inputs, width) if needs_input else None
            self.give_gradient(r * inputs)
            return [made, None]

        inner = tape.out(rows * r, width, [low, TRAINED], backward_down)
        del given, low
        kept = inner.detached()

        def backward_up(g: list[Value]) -> list[Value | None]:
            _ = (kept, up)
            made = tape.new(rows * r, width)
            self.give_gradient(r * outputs)
            return [made]

        return tape.out(rows * outputs, width, [inner], backward_up)

    def dropped(self, given: Value) -> Value:
        """Dropout keeps a mask of bytes."""
        if not self.case.lora_dropout:
            return given
        tape, count, width = self.tape, given.count, given.width
        mask = tape.block(count)

        def backward(g: list[Value]) -> list[Value | None]:
            _ = mask
            return [tape.new(count, width)]

        return tape.out(count, width, [given], backward)

    def _weight(self, count: int) -> Block | None:
        """An adapter's weight in 16 bits; autocast caches it, autograd saves it."""
        if not self.case.is_autocast:
            return None
        block = self.tape.block(count * self.case.width)
        self.casts.append(block)
        return block

    def hold_gradient(self, count: int) -> None:
        """Count gradients of trained weights as there until the optimizer's step."""
        if self.case.accumulates:
            return
        part, self.tape.memory.part = self.tape.memory.part, "gradients"
        self.gradients.append(self.tape.block(count * 4))
        self.tape.memory.part = part

    def give_gradient(self, count: int) -> None:
        """A weight's gradient in 16 bits, then in float32, which stays or is added to another."""
        tape, case = self.tape, self.case
        low = tape.block(count * case.width) if case.is_autocast else None
        if case.accumulates:
            tape.block(count * 4)
        self.hold_gradient(count)
        del low
