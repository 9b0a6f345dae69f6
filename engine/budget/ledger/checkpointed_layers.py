"""Bytes of a model's layers where only their inputs are kept, and each is run again backward."""

from engine.budget.ledger.decoder_layer import SharedKeys
from engine.budget.ledger.step_context import Kind, StepContext
from engine.budget.ledger.tape import Block, Node, Value
from engine.gemma.catalog import Layer


class Checkpointed:
    """The layers of one step under gradient checkpointing without reentrance."""

    part = "checkpoints"

    def __init__(self, setting: StepContext) -> None:
        self.setting = setting
        self.inputs: list[Value | None] = []
        self.shared: SharedKeys = {}
        self.casts: list[Block] = []
        self.left_over: list[tuple[list[Node], SharedKeys]] = []
        """Of layers whose keys others read: what made them when they were run again stays."""

    def forward(self, hidden: Value, per_layer: Value | None) -> Value:
        """The output of the last layer, off the tape."""
        setting, tape = self.setting, self.setting.tape
        seen: set[Kind] = set()
        width = setting.case.width
        for place, layer in enumerate(setting.gemma.layers):
            setting.enter("forward", place)
            self.inputs.append(hidden)
            if setting.kind(place) not in seen or place in setting.ends:
                seen.add(setting.kind(place))
                width = self._run_unrecorded(hidden, layer, per_layer)
            hidden = tape.new(setting.hidden, width)
            if setting.case.is_autocast:
                self.casts.append(tape.block(setting.lora[place] * setting.case.width))
        return hidden

    def _run_unrecorded(self, hidden: Value, layer: Layer, per_layer: Value | None) -> int:
        """Run a layer that keeps nothing; gives the bytes of a number in its output."""
        setting, tape = self.setting, self.setting.tape
        part = setting.slice_of(per_layer)
        tape.records = False
        width = setting.decoder.layer(hidden.detached(), layer, part, self.shared).width
        tape.records = True
        setting.projections.casts.clear()
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
        setting = self.setting
        for place in range(len(setting.gemma.layers) - 1, -1, -1):
            setting.enter("backward", place)
            if place in setting.ends:
                end = self._again(place, gradients, end, per_layer)
            else:
                setting.projections.hold_gradient(setting.lora[place])
            self.inputs[place] = None
        return end

    def _again(
        self, place: int, gradients: dict[Node, Value], end: Node, per_layer: Value | None
    ) -> Node:
        setting, tape = self.setting, self.setting.tape
        layer, memory, kept = setting.gemma.layers[place], setting.memory, self.inputs[place]
        assert kept is not None
        tape.nodes = []
        given, part, shared = kept.detached(), setting.slice_of(per_layer), {**self.shared}
        start = tape.leaf(given)
        of_part = tape.leaf(part) if part else None
        # Gemma 3 ends in a cast from float32, whose gradient is there before anything is run again.
        is_cast = setting.gemma.generation == 3 and gradients[end].width == 2
        widened = tape.new(setting.hidden, 4) if is_cast else None
        memory.part = "recomputed layer"
        out = setting.decoder.layer(given, layer, part, shared)
        setting.projections.casts.clear()
        assert out.node is not None
        gradients[out.node] = gradients.pop(end)
        if layer.sharing == "store":
            self._hand_over(gradients, shared, layer.attention)
        del out, given, part, shared, widened
        memory.part = "temporaries"
        tape.backward(gradients)
        if of_part and per_layer and gradients.pop(of_part, None):
            setting.spread(gradients, per_layer)
        if layer.sharing == "store":
            self._leave_keys(kept, layer)
        return start

    def _leave_keys(self, hidden: Value, layer: Layer) -> None:
        """transformers' dictionary of shared keys holds the new ones, and they hold their graph."""
        tape, made = self.setting.tape, SharedKeys()
        tape.nodes = []
        given = hidden.detached()
        tape.leaf(given)
        self.setting.decoder.keys(given, layer, made)
        self.setting.projections.casts.clear()
        self.left_over.append((tape.nodes, made))
        tape.nodes = []
        del self.shared[layer.attention]

    def _hand_over(self, gradients: dict[Node, Value], made: SharedKeys, kind: str) -> None:
        """Gradients of keys and values that later layers read go to those computed again."""
        for before, after in zip(self.shared[kind], made[kind], strict=True):
            if before.node in gradients and after.node:
                gradients[after.node] = gradients.pop(before.node)
