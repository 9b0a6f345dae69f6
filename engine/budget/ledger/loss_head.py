"""Bytes of the loss: TRL's fused head or the engine's, which hold the logits of a tile only.

Which it is `engine.hardware.kernel_choice` decides: on every GPU it is TRL's.
"""

from engine.budget.ledger.tape import Block, Tape, Value
from engine.budget.library_kernels import TRL_TILE_TOKENS, TRL_TILE_VOCABULARY
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma
from engine.hardware.kernel_choice import TILE_TOKENS, TILE_VOCABULARY

_STATISTICS = 7
"""float32 numbers per token while the tiles are folded."""


class Head:
    """The projection of the supervised positions, and their log-probabilities."""

    def __init__(self, gemma: Gemma, step: StepShape, tape: Tape) -> None:
        self.gemma, self.step, self.tape = gemma, step, tape
        self.outputs: list[Block] = []
        """What the loss and the metrics are computed from, held to the end of the step."""

    def score(self, hidden: Value) -> Value:
        """The loss of the supervised tokens, from the normed output of the last layer."""
        selected = self._selected(hidden)
        del hidden
        return self._own(selected) if self.step.has_own_head else self._of_trl(selected)

    def _selected(self, hidden: Value) -> Value:
        """The supervised tokens' rows."""
        step, tape = self.step, self.tape
        width, scored, size = self.gemma.hidden_size, step.scored_tokens, hidden.width
        positions = step.batch * (step.length - 1)

        def spread(g: list[Value]) -> list[Value | None]:
            """Back from selected rows to all of them, and to those that predict nothing."""
            positions_of_rows = tape.block(scored * 16)
            selected = tape.new(positions * width, size)
            g.clear()
            del positions_of_rows
            whole = tape.new(step.tokens * width, size)
            del selected
            return [whole]

        positions_of_rows = tape.block(scored * 16)
        selected = tape.out(scored * width, size, [hidden], spread)
        del hidden, positions_of_rows
        return selected

    def _own(self, selected: Value) -> Value:
        """Keeps the gradient, which is there before the backward pass; see engine/kernels/head."""
        step, tape, width = self.step, self.tape, self.gemma.hidden_size
        labels, selected = tape.block(step.scored_tokens * 8), tape.cast(selected, step.width)
        tape.memory.part = "head"
        gradient = tape.new(selected.count, step.width)
        tokens = min(step.scored_tokens, TILE_TOKENS)
        tile = tokens * min(self.gemma.vocab_size, TILE_VOCABULARY)
        tiles = [tape.block(tile * 4)]
        tiles += [tape.block(tile * 4)] if self.gemma.final_softcap else []
        tiles += [tape.block(tile * 2)] if step.width == 2 else []
        sums = tape.block(tokens * (width + 4) * 4)
        rows = tape.block(tokens * width * 4)
        del tiles, sums, rows, labels
        size = gradient.count, gradient.width
        return tape.op(1, 4, [selected], [size], saved=gradient)

    def _of_trl(self, selected: Value) -> Value:
        """Log-probabilities, and a backward pass that computes every tile again."""
        step, tape = self.step, self.tape
        width, scored, size = self.gemma.hidden_size, step.scored_tokens, selected.width
        positions = step.batch * (step.length - 1)
        labels = tape.block(scored * 8)
        tape.memory.part = "head"
        statistics = [tape.block(scored * 4) for _ in range(_STATISTICS)]
        tile = self._tile(scored)
        del tile
        saved = [tape.block(scored * 4) for _ in range(2)]
        saved_rows = selected.detached()

        def backward(g: list[Value]) -> list[Value | None]:
            _ = (saved_rows, labels, saved)
            tape.memory.part = "head"
            high = tape.new(scored * width, 4)
            tile = self._tile(scored), self._spelled_out(scored)
            low = tape.cast(high, size)
            del tile, high
            tape.memory.part = "temporaries"
            return [low]

        scores = tape.out(scored, 4, [selected], backward)
        del statistics
        self.outputs = [tape.block(positions * 4) for _ in range(3)]
        return scores

    def _spelled_out(self, scored: int) -> Block | None:
        """Without Triton a tile's gradient is worked out in PyTorch, float32 at every stage.

        Eight tiles and a mask are there at once (`_backward_tile`), one more with a softcap; the
        first of them is the tile itself where that is float32.
        """
        if self.step.device == "cuda":
            return None
        columns = min(self.gemma.vocab_size, TRL_TILE_VOCABULARY)
        tiles = 7 + (1 if self.gemma.final_softcap else 0)
        return self.tape.block(min(scored, TRL_TILE_TOKENS) * columns * (4 * tiles + 1))

    def _tile(self, scored: int) -> Block:
        rows = min(scored, TRL_TILE_TOKENS)
        return self.tape.block(rows * TRL_TILE_VOCABULARY * self.step.width)
