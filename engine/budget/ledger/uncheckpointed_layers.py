"""Bytes of a model's layers where everything they compute stays for the backward pass."""

from typing import NamedTuple

from engine.budget.ledger.decoder_layer import SharedKeys
from engine.budget.ledger.step_context import Kind, StepContext
from engine.budget.ledger.tape import Block, Node, Value
from engine.gemma.shapes import Layer


class _Run(NamedTuple):
    """A layer that was run: its tape, and where gradients enter and leave."""

    nodes: list[Node]
    start: Node | None
    end: Node


class UncheckpointedLayers:
    """The layers of one step without gradient checkpointing."""

    part = "activations"

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.runs: list[_Run | Block | None] = []
        self.first = next((index for index, count in enumerate(context.lora) if count), 0)
        """The layer from which on gradients are wanted; those below keep nothing."""
        self.shared: SharedKeys = {}
        self.sizes: dict[tuple[Kind, int], tuple[int, int]] = {}
        """What a layer keeps, by kind."""

    def forward(self, hidden: Value, per_layer: Value | None) -> Value:
        """The output of the last layer, off the tape."""
        context = self.context
        for index, layer in enumerate(context.gemma.layers):
            context.enter("forward", index)
            if index < self.first:
                hidden = self._unrecorded(hidden, layer, per_layer)
                self.runs.append(None)
            elif index in context.ends or index == self.first:
                is_first = index == self.first
                run, hidden = self._run(hidden, layer, per_layer, is_first=is_first)
                self.runs.append(run)
                del run
            else:
                key = context.kind(index), hidden.width
                if key not in self.sizes:
                    self.sizes[key] = self._kept_bytes(hidden, layer, per_layer)
                size, width = self.sizes[key]
                self.runs.append(context.tape.block(size))
                hidden = context.tape.new(context.hidden, width)
        return hidden

    def _unrecorded(self, hidden: Value, layer: Layer, per_layer: Value | None) -> Value:
        context, tape = self.context, self.context.tape
        part = context.slice_of(per_layer)
        tape.records = False
        out = context.decoder.layer(hidden.detached(), layer, part, self.shared)
        tape.records = True
        return out.detached()

    def _kept_bytes(self, hidden: Value, layer: Layer, per_layer: Value | None) -> tuple[int, int]:
        """What a layer of this kind keeps, and the bytes of a number in its output.

        A norm keeps an input in float32, which is the layer's own then.
        """
        context = self.context
        before = context.memory.allocated
        run, out = self._run(hidden, layer, per_layer)
        width = out.width
        del out
        own = context.hidden * 4 if hidden.width == 4 else 0
        size = context.memory.allocated - before + own
        del run
        return size, width

    def _run(
        self, hidden: Value, layer: Layer, per_layer: Value | None, *, is_first: bool = False
    ) -> tuple[_Run, Value]:
        """Run a layer; nobody wants the gradient of the first one's input."""
        context, tape = self.context, self.context.tape
        outer, tape.nodes = tape.nodes, []
        x = hidden.detached()
        start = None if is_first else tape.leaf(x)
        part = context.slice_of(per_layer)
        if part and per_layer:
            tape.linked(part, [per_layer], lambda g: [context.whole(per_layer)])
        out = context.decoder.layer(x, layer, part, self.shared)
        context.projections.casts.clear()
        assert out.node is not None
        run = _Run(tape.nodes, start, out.node)
        tape.nodes = outer
        return run, out.detached()

    def leave_autocast(self) -> None:
        """The adapter's copies in 16 bits stay: they were saved for the backward pass."""

    def backward(
        self, gradients: dict[Node, Value], end: Node, per_layer: Value | None
    ) -> Node | None:
        """Run every layer backward from the gradient at `end`; the first one's input has none."""
        context = self.context
        context.memory.part = "temporaries"
        for index in range(len(context.gemma.layers) - 1, self.first - 1, -1):
            context.enter("backward", index)
            run, self.runs[index] = self.runs[index], None
            if isinstance(run, _Run):
                gradients[run.end] = gradients.pop(end)
                context.tape.nodes, end = run.nodes, run.start or end
                del run
                context.tape.backward(gradients)
            else:
                del run
                context.projections.hold_gradient(context.lora[index])
        return None
