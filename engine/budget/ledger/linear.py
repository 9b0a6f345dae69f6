"""Bytes of a frozen linear layer: bitsandbytes' 4-bit weights, and what adapters share of it."""

from engine.budget.ledger.tape import Block, Node, Tape, Value
from engine.budget.library_kernels import GEMM_4BIT_FUSED_ROWS, NF4_BLOCK, gemm_4bit
from engine.budget.step_shape import StepShape

TRAINED = Value(None, 0, 4, Node([], None))
"""Stands for an adapter's weight, so that gradients are wanted of what it is multiplied with."""


class LinearLayers:
    """The linear layers of one step, on one tape."""

    def __init__(self, tape: Tape, step: StepShape) -> None:
        self.tape, self.step = tape, step
        self.targets = frozenset[str]()
        """Names of those that have an adapter in the layer that runs."""
        self.is_4bit = step.quantization == "nf4"
        self.casts: list[Block] = []
        """Adapter weights that autocast keeps in 16 bits until its context is left."""
        self.gradients: list[Block] = []
        """Of adapter weights, held until the optimizer's step."""

    def frozen(self, x: Value, inputs: int, outputs: int, *, is_4bit: bool) -> Value:
        """A frozen layer; 4-bit weights are spelled out for many rows, and always backward.

        Autocast multiplies in 16 bits; bitsandbytes gives back the type that it was given.
        """
        tape, rows, width = self.tape, x.count // inputs, self.step.width
        narrow = tape.cast(x, width)
        within: object = None
        if is_4bit and rows > GEMM_4BIT_FUSED_ROWS and self.step.device == "cuda":
            weights = inputs * outputs
            scales = weights // NF4_BLOCK if self.step.double_quantization else 0
            within = [tape.block(size) for size in gemm_4bit(weights, scales, width)]

        def backward(g: list[Value]) -> list[Value | None]:
            spelled_out = self.dequantised(inputs, outputs) if is_4bit else None  # noqa: F841
            return [tape.new(rows * inputs, width)]

        product = tape.new(rows * outputs, width)
        del within
        product = tape.linked(product, [narrow], backward)
        return tape.cast(product, x.width) if is_4bit else product

    def dequantised(self, inputs: int, outputs: int) -> Block:
        """The weight in 16 bits; its scales are spelled out before it and given back after."""
        is_double = self.step.double_quantization
        scales = self.tape.block(inputs * outputs // NF4_BLOCK * 4) if is_double else None
        weight = self.tape.block(inputs * outputs * self.step.width)
        del scales
        return weight

    def cast_weight(self, count: int) -> Block | None:
        """An adapter's weight in 16 bits; autocast caches it, autograd saves it."""
        if not self.step.is_autocast:
            return None
        block = self.tape.block(count * self.step.width)
        self.casts.append(block)
        return block

    def hold_gradient(self, count: int) -> None:
        """Count gradients of trained weights as there until the optimizer's step."""
        if self.step.accumulates:
            return
        part, self.tape.memory.part = self.tape.memory.part, "gradients"
        self.gradients.append(self.tape.block(count * 4))
        self.tape.memory.part = part

    def give_gradient(self, count: int) -> None:
        """A weight's gradient in 16 bits, then in float32, which stays or is added to another."""
        tape, step = self.tape, self.step
        low = tape.block(count * step.width) if step.is_autocast else None
        if step.accumulates:
            tape.block(count * 4)
        self.hold_gradient(count)
        del low
