"""Bytes of a model's layers where only their inputs are kept, and each is run again backward."""

from engine.budget.ledger.decoder_layer import SharedKeys
from engine.budget.ledger.step_context import Kind, StepContext
from engine.budget.ledger.tape import Block, Node, Value
from engine.gemma.shapes import Layer


class CheckpointedLayers:
    """The layers of one step under gradient checkpointing without reentrance."""

    part = "checkpoints"

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.inputs: list[Value | None] = []
        self.shared: SharedKeys = {}
        self.casts: list[Block] = []
        self.left_over: list[tuple[list[Node], SharedKeys]] = []
        """Of layers whose keys others read: what made them when they were run again stays."""

    def forward(self, hidden: Value, per_layer: Value | None) -> Value:
        """The output of the last layer, off the tape."""
        context, tape = self.context, self.context.tape
        kinds: set[Kind] = set()
        width = context.step.width
        for index, layer in enumerate(context.gemma.layers):
            context.enter("forward", index)
            self.inputs.append(hidden)
            if context.kind(index) not in kinds or index in context.ends:
                kinds.add(context.kind(index))
                width = self._run_unrecorded(hidden, layer, per_layer)
            hidden = tape.new(context.hidden, width)
            if context.step.is_autocast:
                self.casts.append(tape.block(context.lora[index] * context.step.width))
        return hidden

    def _run_unrecorded(self, hidden: Value, layer: Layer, per_layer: Value | None) -> int:
        """Run a layer that keeps nothing; gives the bytes of a number in its output."""
        context, tape = self.context, self.context.tape
        part = context.slice_of(per_layer)
        tape.records = False
        width = context.decoder.layer(hidden.detached(), layer, part, self.shared).width
        tape.records = True
        context.projections.casts.clear()
        if layer.sharing == "store":
            for value in self.shared[layer.attention]:
                value.node = Node([], None)
        return width

    def leave_autocast(self) -> None:
        """Give back the adapter's copies in 16 bits."""
        self.casts.clear()

    def backward(
        self, gradients: dict[Node, Value], end: Node, per_layer: Value | None
    ) -> Node | None:
        """Run every layer backward from the gradient at `end`; gives where it stands then."""
        context = self.context
        for index in range(len(context.gemma.layers) - 1, -1, -1):
            context.enter("backward", index)
            if index in context.ends:
                end = self._rerun(index, gradients, end, per_layer)
            else:
                context.projections.hold_gradient(context.lora[index])
            self.inputs[index] = None
        return end

    def _rerun(
        self, index: int, gradients: dict[Node, Value], end: Node, per_layer: Value | None
    ) -> Node:
        context, tape = self.context, self.context.tape
        layer, memory, hidden = context.gemma.layers[index], context.memory, self.inputs[index]
        assert hidden is not None
        tape.nodes = []
        x, part, shared = hidden.detached(), context.slice_of(per_layer), {**self.shared}
        start = tape.leaf(x)
        of_part = tape.leaf(part) if part else None
        # Gemma 3 ends in a cast from float32, whose gradient is there before anything is run again.
        is_cast = context.gemma.generation == 3 and gradients[end].width == 2
        widened = tape.new(context.hidden, 4) if is_cast else None
        memory.part = "recomputed layer"
        out = context.decoder.layer(x, layer, part, shared)
        context.projections.casts.clear()
        assert out.node is not None
        gradients[out.node] = gradients.pop(end)
        if layer.sharing == "store":
            self._hand_over(gradients, shared, layer.attention)
        del out, x, part, shared, widened
        memory.part = "temporaries"
        tape.backward(gradients)
        if of_part and per_layer and gradients.pop(of_part, None):
            context.spread(gradients, per_layer)
        if layer.sharing == "store":
            self._leave_keys(hidden, layer)
        return start

    def _leave_keys(self, hidden: Value, layer: Layer) -> None:
        """transformers' dictionary of shared keys holds the new ones, and they hold their graph."""
        tape, keys = self.context.tape, SharedKeys()
        tape.nodes = []
        x = hidden.detached()
        tape.leaf(x)
        self.context.decoder.keys(x, layer, keys)
        self.context.projections.casts.clear()
        self.left_over.append((tape.nodes, keys))
        tape.nodes = []
        del self.shared[layer.attention]

    def _hand_over(self, gradients: dict[Node, Value], rerun: SharedKeys, kind: str) -> None:
        """Gradients of keys and values that later layers read go to those computed again."""
        for before, after in zip(self.shared[kind], rerun[kind], strict=True):
            if before.node in gradients and after.node:
                gradients[after.node] = gradients.pop(before.node)
