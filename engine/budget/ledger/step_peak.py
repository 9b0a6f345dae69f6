"""The walk through one micro-batch and its optimizer step: the most bytes held at any moment.

A layer of each kind is run where it stands last, and where gradients outgrow what is freed also
where it stands first; between the two what is held changes evenly, so that none is higher.
"""

from typing import NamedTuple

from engine.budget.ledger import inputs
from engine.budget.ledger.checkpointed_layers import Checkpointed
from engine.budget.ledger.decoder_layer import SharedKeys
from engine.budget.ledger.loss_head import Head
from engine.budget.ledger.operations import norm
from engine.budget.ledger.step_context import StepContext, setting
from engine.budget.ledger.tape import Value
from engine.budget.ledger.uncheckpointed_layers import UncheckpointedLayers
from engine.budget.step_shape import StepShape
from engine.gemma.catalog import Gemma


class Peak(NamedTuple):
    """The most that is held beyond what stays, by part, and when."""

    size_bytes: int
    parts: dict[str, int]
    moment: str


def highest(gemma: Gemma, case: StepShape) -> Peak:
    """The highest moment of a step."""
    chosen = setting(gemma, case)
    memory = chosen.memory
    memory.part = "batch"
    batch = inputs.batch(chosen.tape, case)
    _forward_and_backward(chosen, Head(gemma, case, chosen.tape))
    del batch
    memory.moment = "optimizer step"
    _take_step(chosen)
    parts = {part: size for part, size in memory.peak_parts.items() if size}
    return Peak(memory.peak, parts, memory.peak_moment)


def _forward_and_backward(chosen: StepContext, head: Head) -> None:
    gemma, case, tape, memory = chosen.gemma, chosen.case, chosen.tape, chosen.memory
    layers = Checkpointed(chosen) if case.gradient_checkpointing else UncheckpointedLayers(chosen)
    memory.part, memory.moment = layers.part, "forward pass"
    masks, around = inputs.masks(tape, gemma, case), inputs.rotary(tape, gemma, case)
    hidden = inputs.embedded(tape, gemma, case)
    first = hidden.node
    per_layer = _per_layer(chosen, hidden)
    entry, tape.nodes = tape.nodes, []
    hidden = layers.forward(hidden, per_layer)
    last = tape.leaf(hidden)
    normed = norm(tape, hidden, gemma.hidden_size)
    memory.moment = "head forward"
    scores = head.score(normed)
    layers.leave_autocast()
    if not case.gradient_checkpointing:
        masks.clear()
    if case.objective == "dpo":
        _reference(chosen)
    end = scores.node
    assert end is not None
    gradients = {end: Value(None, scores.count, 4)}
    del scores, normed, hidden
    memory.moment, memory.part = "head backward", "temporaries"
    tape.backward(gradients)
    start = layers.backward(gradients, last, per_layer)
    del masks, around
    memory.moment = "backward pass"
    if first and start:
        gradients[first] = gradients.pop(start)
    del per_layer
    tape.nodes = entry
    del entry
    tape.backward(gradients)


def _per_layer(chosen: StepContext, hidden: Value) -> Value | None:
    gemma = chosen.gemma
    if not gemma.per_layer_width:
        return None
    return inputs.per_layer(chosen.tape, gemma, chosen.case, chosen.projections, hidden)


def _reference(chosen: StepContext) -> None:
    """The model without its adapter and without checkpoints, which keeps nothing."""
    gemma, case, tape, memory = chosen.gemma, chosen.case, chosen.tape, chosen.memory
    part = memory.part
    memory.part, memory.moment = "reference", "reference forward"
    tape.records, chosen.projections.adapts = False, False
    around = inputs.masks(tape, gemma, case) + inputs.rotary(tape, gemma, case)
    hidden = inputs.embedded(tape, gemma, case)
    part_of_layer = chosen.slice_of(_per_layer(chosen, hidden))
    shared: SharedKeys = {}
    for layer in dict.fromkeys(gemma.layers):
        hidden = chosen.decoder.layer(hidden.detached(), layer, part_of_layer, shared)
    del around
    tape.records, chosen.projections.adapts = True, True
    memory.part = part


def _take_step(chosen: StepContext) -> None:
    """PyTorch's AdamW takes a root of all second moments at once; others work in place."""
    chosen.memory.part = "temporaries"
    if chosen.case.optim == "adamw_torch":
        chosen.tape.block(sum(chosen.lora) * 4)
