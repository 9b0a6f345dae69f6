"""Bytes of a model's layers where everything they compute stays for the backward pass."""

from typing import NamedTuple

from engine.budget.ledger.decoder_layer import SharedKeys
from engine.budget.ledger.step_context import Kind, StepContext
from engine.budget.ledger.tape import Block, Node, Value
from engine.gemma.catalog import Layer


class _Run(NamedTuple):
    """A layer that was run: its tape, and where gradients enter and leave."""

    nodes: list[Node]
    start: Node | None
    end: Node


class UncheckpointedLayers:
    """The layers of one step without gradient checkpointing."""

    part = "activations"

    def __init__(self, setting: StepContext) -> None:
        self.setting = setting
        self.held: list[_Run | Block | None] = []
        self.first = next((place for place, count in enumerate(setting.lora) if count), 0)
        """The layer from which on gradients are wanted; those below keep nothing."""
        self.shared: SharedKeys = {}
        self.sizes: dict[tuple[Kind, int], tuple[int, int]] = {}
        """What a layer keeps, by kind."""

    def forward(self, hidden: Value, per_layer: Value | None) -> Value:
        """The output of the last layer, off the tape."""
        setting = self.setting
        for place, layer in enumerate(setting.gemma.layers):
            setting.enter("forward", place)
            if place < self.first:
                hidden = self._unrecorded(hidden, layer, per_layer)
                self.held.append(None)
            elif place in setting.ends or place == self.first:
                is_first = place == self.first
                run, hidden = self._run(hidden, layer, per_layer, is_first=is_first)
                self.held.append(run)
                del run
            else:
                key = setting.kind(place), hidden.width
                if key not in self.sizes:
                    self.sizes[key] = self._kept_bytes(hidden, layer, per_layer)
                size, width = self.sizes[key]
                self.held.append(setting.tape.block(size))
                hidden = setting.tape.new(setting.hidden, width)
        return hidden

    def _unrecorded(self, hidden: Value, layer: Layer, per_layer: Value | None) -> Value:
        setting, tape = self.setting, self.setting.tape
        part = setting.slice_of(per_layer)
        tape.records = False
        out = setting.decoder.layer(hidden.detached(), layer, part, self.shared)
        tape.records = True
        return out.detached()

    def _kept_bytes(self, hidden: Value, layer: Layer, per_layer: Value | None) -> tuple[int, int]:
        """What a layer of this kind keeps, and the bytes of a number in its output.

        A norm keeps an input in float32, which is the layer's own then.
        """
        setting = self.setting
        before = setting.memory.held
        run, out = self._run(hidden, layer, per_layer)
        width = out.width
        del out
        own = setting.hidden * 4 if hidden.width == 4 else 0
        size = setting.memory.held - before + own
        del run
        return size, width

    def _run(
        self, hidden: Value, layer: Layer, per_layer: Value | None, *, is_first: bool = False
    ) -> tuple[_Run, Value]:
        """Run a layer; nobody wants the gradient of what the first one is given."""
        setting, tape = self.setting, self.setting.tape
        outer, tape.nodes = tape.nodes, []
        given = hidden.detached()
        start = None if is_first else tape.leaf(given)
        part = setting.slice_of(per_layer)
        if part and per_layer:
            tape.linked(part, [per_layer], lambda g: [setting.whole(per_layer)])
        out = setting.decoder.layer(given, layer, part, self.shared)
        setting.projections.casts.clear()
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
        setting = self.setting
        setting.memory.part = "temporaries"
        for place in range(len(setting.gemma.layers) - 1, self.first - 1, -1):
            setting.enter("backward", place)
            run, self.held[place] = self.held[place], None
            if isinstance(run, _Run):
                gradients[run.end] = gradients.pop(end)
                setting.tape.nodes, end = run.nodes, run.start or end
                del run
                setting.tape.backward(gradients)
            else:
                del run
                setting.projections.hold_gradient(setting.lora[place])
        return None
