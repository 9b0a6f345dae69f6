"""Bytes of products with 4-bit experts, of which a part at a time is spelled out."""

from engine.budget.expert_tiles import Stack
from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.step_shape import StepShape


class Packed:
    """One matrix of all experts; nothing spelled out stays for the backward pass."""

    def __init__(self, tape: Tape, step: StepShape, stack: Stack) -> None:
        self.tape, self.step, self.stack = tape, step, stack

    def multiply(self, x: Value, count: int) -> Value:
        """A product per expert; backward it is spelled out again."""
        before, width = x.count, x.width

        def backward(g: list[Value]) -> list[Value | None]:
            return [self._multiplied(before, width, is_backward=True)]

        return self.tape.linked(self._multiplied(count, width, is_backward=False), [x], backward)

    def _multiplied(self, count: int, width: int, *, is_backward: bool) -> Value:
        if self.step.has_fast_groups:
            return self._by_slab(count, width, is_backward=is_backward)
        return self._by_chunk(count, width)

    def _by_slab(self, count: int, width: int, *, is_backward: bool) -> Value:
        """Some outputs of every expert at a time; 4-bit weights are gathered for each slab."""
        stack, tape = self.stack, self.tape
        outputs, slab = stack.outputs(back=is_backward), stack.slab(back=is_backward)
        if slab == outputs:
            whole = self._spelled_out(1.0)
            product = tape.new(count, width)
            del whole
            return product
        product = tape.new(count, width)
        numbers = stack.count * stack.rows * stack.columns
        scales = self._scales(numbers)
        share = slab / outputs
        gathered = [
            tape.block(int(numbers * share) // 2),
            tape.block(int(numbers * share) // stack.block_size * 4),
        ]
        spelled_out = tape.block(int(numbers * share) * stack.width)
        del gathered
        part = tape.block(int(count * share) * width)
        del spelled_out, part, scales
        return product

    def _by_chunk(self, count: int, width: int) -> Value:
        """Some experts at a time, each of which fills its rows of the product."""
        size = self.stack.chunk(is_on_card=self.step.device == "cuda")
        product = self.tape.new(count, width)
        spelled_out = self._spelled_out(size / self.stack.count)
        del spelled_out
        return product

    def _spelled_out(self, share: float) -> Block:
        stack = self.stack
        numbers = int(stack.count * stack.rows * stack.columns * share)
        scales = self._scales(numbers)
        weight = self.tape.block(numbers * stack.width)
        del scales
        return weight

    def _scales(self, numbers: int) -> Block | None:
        if not self.step.double_quantization:
            return None
        return self.tape.block(numbers // self.stack.block_size * 4)
