"""Bytes of what a forward pass begins with: tokens, masks, rotary tables, embeddings."""

from engine.budget.ledger.attention import mask_rows, shape_of
from engine.budget.ledger.linear import LinearLayers
from engine.budget.ledger.operations import norm
from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.step_shape import StepShape
from engine.gemma.catalog import Gemma


def batch(tape: Tape, case: StepShape) -> list[Block]:
    """Token numbers, labels, and positions or for preferences the padding mask."""
    return [tape.block(case.tokens * 8) for _ in range(3)]


def masks(tape: Tape, gemma: Gemma, case: StepShape) -> list[Block]:
    """One for each kind of attention that needs one."""
    cells = mask_rows(case) * case.length * case.length
    if case.attention == "eager":
        return [tape.block(cells * case.width) for _ in {la.attention for la in gemma.layers}]
    masked = {la.attention for la in gemma.layers if shape_of(case, gemma, la).is_masked}
    return [tape.block(cells) for _ in masked]


def rotary(tape: Tape, gemma: Gemma, case: StepShape) -> list[Block]:
    """Sines and cosines of every position, for each kind of attention.

    Positions come with each row of a fine-tuning batch, and are counted once for preferences.
    """
    rows = case.tokens if case.objective == "sft" else case.length
    widths = {layer.attention: layer.head_width for layer in gemma.layers}
    return [tape.block(rows * n * case.width) for n in widths.values() for _ in range(2)]


def embedded(tape: Tape, gemma: Gemma, case: StepShape) -> Value:
    """Scaled token embeddings; gradients are wanted of them where layers are checkpointed."""
    looked_up = tape.new(case.tokens * gemma.hidden_size, case.width)
    hidden = tape.new(looked_up.count, case.width)
    del looked_up
    if case.gradient_checkpointing:
        tape.leaf(hidden)
    return hidden


def per_layer(
    tape: Tape, gemma: Gemma, case: StepShape, projections: LinearLayers, hidden: Value
) -> Value:
    """What Gemma 4 gives each layer of its own: a lookup and a projection of the embeddings."""
    width = len(gemma.layers) * gemma.per_layer_width
    looked_up = tape.new(case.tokens * width, case.width)
    scaled = tape.new(looked_up.count, case.width)
    del looked_up
    projected = projections.linear(hidden, gemma.hidden_size, width, is_4bit=False)
    projected = norm(tape, tape.scaled(projected), gemma.per_layer_width)
    both = tape.add(projected, scaled)
    del projected, scaled
    return tape.scaled(both)
