"""The walk through one micro-batch and its optimizer step: the most bytes held at any moment.

A layer of each kind is run where it stands last, and where gradients outgrow what is freed also
where it stands first; between the two what is held changes evenly, so that none is higher.
"""

from functools import lru_cache
from typing import NamedTuple

from engine.budget.ledger import inputs
from engine.budget.ledger.checkpointed_layers import CheckpointedLayers
from engine.budget.ledger.loss_head import Head
from engine.budget.ledger.operations import norm
from engine.budget.ledger.step_context import StepContext, context_of
from engine.budget.ledger.tape import Value
from engine.budget.ledger.uncheckpointed_layers import UncheckpointedLayers
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma


class Peak(NamedTuple):
    """The most that is held beyond what stays, by part, and when."""

    size_bytes: int
    parts: dict[str, int]
    moment: str


@lru_cache(maxsize=64)
def peak_of_step(gemma: Gemma, step: StepShape) -> Peak:
    """The highest moment of a step, remembered for those that were asked for last."""
    context = context_of(gemma, step)
    memory = context.memory
    memory.part = "batch"
    batch = inputs.batch(context.tape, step)
    _forward_and_backward(context, Head(gemma, step, context.tape))
    del batch
    memory.moment = "optimizer step"
    _take_step(context)
    parts = {part: size for part, size in memory.peak_parts.items() if size}
    return Peak(memory.peak, parts, memory.peak_moment)


def _forward_and_backward(context: StepContext, head: Head) -> None:
    gemma, step, tape, memory = context.gemma, context.step, context.tape, context.memory
    layers = (
        CheckpointedLayers(context)
        if step.gradient_checkpointing
        else UncheckpointedLayers(context)
    )
    memory.part, memory.moment = layers.part, "forward pass"
    masks, around = inputs.masks(tape, gemma, step), inputs.rotary(tape, gemma, step)
    hidden = inputs.embedded(tape, gemma, step)
    first = hidden.node
    per_layer = _per_layer(context, hidden)
    entry, tape.nodes = tape.nodes, []
    hidden = layers.forward(hidden, per_layer)
    last = tape.leaf(hidden)
    normed = norm(tape, hidden, gemma.hidden_size)
    memory.moment = "head forward"
    scores = head.score(normed)
    layers.leave_autocast()
    if not step.gradient_checkpointing:
        masks.clear()
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


def _per_layer(context: StepContext, hidden: Value) -> Value | None:
    gemma = context.gemma
    if not gemma.per_layer_width:
        return None
    return inputs.per_layer(context.tape, gemma, context.step, context.projections, hidden)


def _take_step(context: StepContext) -> None:
    """PyTorch's AdamW takes a root of all second moments at once; others work in place."""
    context.memory.part = "temporaries"
    if context.step.optim == "adamw_torch":
        context.tape.block(sum(context.lora) * 4)
