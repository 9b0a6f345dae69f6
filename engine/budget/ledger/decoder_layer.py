"""Bytes of one decoder layer, operation by operation as transformers runs it."""

from dataclasses import dataclass

from engine.budget.ledger import attention
from engine.budget.ledger.adapted_linear import adapted
from engine.budget.ledger.linear import LinearLayers
from engine.budget.ledger.mixture_of_experts import mixture
from engine.budget.ledger.operations import activated, multiplied, norm, rotated
from engine.budget.ledger.tape import Tape, Value
from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma, Layer

SharedKeys = dict[str, tuple[Value, Value]]
"""Keys and values that layers without their own read, by kind of attention."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A model's layers in one step, on one tape."""

    gemma: Gemma
    step: StepShape
    tape: Tape
    projections: LinearLayers

    def layer(
        self, hidden: Value, layer: Layer, per_layer: Value | None, shared: SharedKeys
    ) -> Value:
        """The layer's output; reads and writes `shared` as the layer does.

        What a caller holds by name while it calls is held here too: the normed input of the
        attention and of the MLP.
        """
        tape, width = self.tape, self.gemma.hidden_size
        residual = hidden
        del hidden
        out = self._attention(norm(tape, residual, width), layer, shared)
        hidden = tape.add(residual, norm(tape, out, width))
        del out
        residual = hidden
        del hidden
        out = self._mlp(norm(tape, residual, width), layer)
        if self.gemma.experts:
            out = mixture(self.projections, self.gemma, out, residual)
        hidden = tape.add(residual, norm(tape, out, width))
        del out, residual
        if per_layer is not None:
            hidden = self._per_layer_input(hidden, per_layer)
        if self.gemma.generation == 4:  # *= layer_scalar, in place
            count, size = hidden.count, hidden.width
            hidden = tape.linked(hidden.detached(), [hidden], lambda g: [tape.new(count, size)])
        return hidden

    def _attention(self, normed: Value, layer: Layer, shared: SharedKeys) -> Value:
        gemma, linears = self.gemma, self.projections
        width, head = gemma.hidden_size, layer.head_width
        query = adapted(linears, normed, width, gemma.heads * head, "q_proj")
        if gemma.generation == 4:
            query = rotated(self.tape, norm(self.tape, query, head))
        if layer.sharing == "reuse":
            key, value = shared[layer.attention]
        else:
            key, value, query = self._keys(normed, query, layer)
            if layer.sharing == "store":
                shared[layer.attention] = key, value
        shape = attention.shape_of(self.step, gemma, layer)
        out = attention.attend(self.tape, self.step, shape, query, key, value)
        del query, key, value
        return adapted(linears, out, gemma.heads * head, width, "o_proj")

    def keys(self, hidden: Value, layer: Layer, shared: SharedKeys) -> None:
        """What a layer's keys and values alone take, put into `shared`."""
        normed = norm(self.tape, hidden, self.gemma.hidden_size)
        key, value, _ = self._keys(normed, normed, layer)
        shared[layer.attention] = key, value

    def _keys(self, normed: Value, query: Value, layer: Layer) -> tuple[Value, Value, Value]:
        """Keys, values, and the query, which Gemma 3 rotates together with the keys."""
        tape, gemma, linears = self.tape, self.gemma, self.projections
        width, head = gemma.hidden_size, layer.head_width
        keys = layer.kv_heads * head
        key = adapted(linears, normed, width, keys, "k_proj")
        value = adapted(linears, normed, width, keys, "v_proj") if layer.has_values else key
        if gemma.generation == 3:
            query, key = norm(tape, query, head), norm(tape, key, head)
            return rotated(tape, key), value, rotated(tape, query)
        key = rotated(tape, norm(tape, key, head))
        return key, norm(tape, value, head), query

    def _mlp(self, normed: Value, layer: Layer) -> Value:
        gemma, linears, tape = self.gemma, self.projections, self.tape
        width, inner = gemma.hidden_size, layer.intermediate_size
        gate = adapted(linears, normed, width, inner, "gate_proj")
        active = activated(tape, gate)
        del gate
        up = adapted(linears, normed, width, inner, "up_proj")
        product = multiplied(tape, active, up)
        del active, up
        return adapted(linears, product, inner, width, "down_proj")

    def _per_layer_input(self, hidden: Value, per_layer: Value) -> Value:
        gemma, linears, tape = self.gemma, self.projections, self.tape
        width, narrow = gemma.hidden_size, gemma.per_layer_width
        gate = adapted(linears, hidden, width, narrow, "per_layer_input_gate")
        active = activated(tape, gate)
        del gate
        product = multiplied(tape, active, per_layer)
        del active
        out = adapted(linears, product, narrow, width, "per_layer_projection")
        del product
        return tape.add(hidden, norm(tape, out, width))
