"""Bytes of what a forward pass begins with: tokens, masks, rotary tables, embeddings."""

from engine.budget.ledger.attention import has_mask_of_each_row, shape_of
from engine.budget.ledger.linear import LinearLayers
from engine.budget.ledger.operations import norm
from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma


def batch(tape: Tape, step: StepShape) -> list[Block]:
    """Token numbers, labels and positions."""
    return [tape.block(step.tokens * 8) for _ in range(3)]


def masks(tape: Tape, gemma: Gemma, step: StepShape) -> list[Block]:
    """One for each kind of attention that needs one; for every row where they differ by rows."""
    count = step.batch if has_mask_of_each_row(step, gemma) else 1
    cells = count * step.length * step.length
    masked = {la.attention for la in gemma.layers if shape_of(step, gemma, la).is_masked}
    return [tape.block(cells) for _ in masked]


def rotary(tape: Tape, gemma: Gemma, step: StepShape) -> list[Block]:
    """Sines and cosines of every position, for each kind of attention."""
    widths = {layer.attention: layer.head_width for layer in gemma.layers}
    return [tape.block(step.tokens * n * step.width) for n in widths.values() for _ in range(2)]


def embedded(tape: Tape, gemma: Gemma, step: StepShape) -> Value:
    """Scaled token embeddings; gradients are wanted of them where layers are checkpointed."""
    looked_up = tape.new(step.tokens * gemma.hidden_size, step.width)
    hidden = tape.new(looked_up.count, step.width)
    del looked_up
    if step.gradient_checkpointing:
        tape.leaf(hidden)
    return hidden


def per_layer(
    tape: Tape, gemma: Gemma, step: StepShape, projections: LinearLayers, hidden: Value
) -> Value:
    """What Gemma 4 gives each layer of its own: a lookup and a projection of the embeddings."""
    width = len(gemma.layers) * gemma.per_layer_width
    looked_up = tape.new(step.tokens * width, step.width)
    scaled = tape.new(looked_up.count, step.width)
    del looked_up
    projected = projections.frozen(hidden, gemma.hidden_size, width, is_4bit=False)
    projected = norm(tape, tape.scaled(projected), gemma.per_layer_width)
    both = tape.add(projected, scaled)
    del projected, scaled
    return tape.scaled(both)
