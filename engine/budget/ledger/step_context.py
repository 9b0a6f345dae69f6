"""What every part of the walk through a step works with."""

from dataclasses import dataclass
from functools import lru_cache

from engine.budget.ledger.decoder_layer import Decoder
from engine.budget.ledger.linear import LinearLayers
from engine.budget.ledger.tape import Memory, Node, Tape, Value
from engine.budget.step_shape import StepShape
from engine.gemma import parameters
from engine.gemma.shapes import Gemma, Layer

Kind = tuple[Layer, frozenset[str]]
"""Layers of one shape with the same projections adapted."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """A model and a step of it, with the tape on which its tensors are counted."""

    gemma: Gemma
    step: StepShape
    tape: Tape
    projections: LinearLayers
    decoder: Decoder
    targets: tuple[frozenset[str], ...]
    """Projections that are adapted, by layer."""
    lora: tuple[int, ...]
    """Trained numbers by layer."""
    ends: frozenset[int]
    """Layers that stand last of their kind; where gradients outgrow what is freed, also first."""

    @property
    def memory(self) -> Memory:
        """What is held."""
        return self.tape.memory

    @property
    def hidden(self) -> int:
        """Numbers in the output of a layer."""
        return self.step.tokens * self.gemma.hidden_size

    def slice_of(self, per_layer: Value | None) -> Value | None:
        """One layer's part of the per-layer inputs, in the same memory."""
        if per_layer is None:
            return None
        count = self.step.tokens * self.gemma.per_layer_width
        return Value(per_layer.block, count, per_layer.width)

    def whole(self, per_layer: Value) -> Value:
        """The gradient of one layer's part: zeros for all the others (`select_backward`)."""
        return self.tape.new(per_layer.count, per_layer.width)

    def spread(self, gradients: dict[Node, Value], per_layer: Value) -> None:
        """Add a layer's part to the gradient of the per-layer inputs."""
        whole = self.whole(per_layer)
        if per_layer.node:
            gradients.setdefault(per_layer.node, whole)

    def kind(self, index: int) -> Kind:
        """What decides over the bytes of a layer."""
        return self.gemma.layers[index], self.targets[index]

    def enter(self, doing: str, layer: int) -> None:
        """Name the moment that begins, and adapt what is adapted in that layer."""
        self.projections.targets = self.targets[layer]
        self.memory.moment = f"{doing} pass, layer {layer + 1} of {len(self.gemma.layers)}"


def context_of(gemma: Gemma, step: StepShape) -> StepContext:
    """For one step; objects of it are used once."""
    tape = Tape(Memory())
    projections = LinearLayers(tape, step)
    decoder = Decoder(gemma, step, tape, projections)
    targets = parameters.adapted(gemma, step.target_modules)
    lora = tuple(map(sum, adapter_tensors(gemma, step)))
    freed = step.tokens * gemma.hidden_size * step.width
    grows = not step.accumulates and max(lora, default=0) * 4 > freed
    ends = _ends(gemma, targets, grows)
    return StepContext(gemma, step, tape, projections, decoder, targets, lora, ends)


@lru_cache(maxsize=16)
def adapter_tensors(gemma: Gemma, step: StepShape) -> tuple[tuple[int, ...], ...]:
    """Numbers in each tensor that is trained, by layer."""
    return parameters.adapter_tensors(
        gemma,
        step.target_modules,
        step.r,
        is_dora=step.method == "dora",
        adapts_experts=step.adapts_experts,
    )


def _ends(gemma: Gemma, targets: tuple[frozenset[str], ...], with_first: bool) -> frozenset[int]:
    """After the last layer there are gradients of per-layer inputs, so one more of each kind."""
    layers: dict[Kind, list[int]] = {}
    for index, kind in enumerate(zip(gemma.layers, targets, strict=True)):
        layers.setdefault(kind, []).append(index)
    last = 2 if gemma.per_layer_width else 1
    return frozenset(
        index
        for of_kind in layers.values()
        for index in [*of_kind[-last:], *(of_kind[:1] if with_first else [])]
    )
