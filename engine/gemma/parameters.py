"""Parameter counts of a Gemma, part by part, and of a LoRA adapter on it."""

from collections.abc import Iterator

from engine.gemma.lora_targets import Targets, is_meant
from engine.gemma.shapes import Gemma, Layer

Linear = tuple[str, int, int]
"""A projection's name, inputs and outputs."""


def linears(gemma: Gemma, layer: Layer) -> Iterator[Linear]:
    """The projections of a decoder layer that can carry an adapter, in the order they run."""
    width, inner = gemma.hidden_size, layer.intermediate_size
    queries, keys = gemma.heads * layer.head_width, layer.kv_heads * layer.head_width
    yield "q_proj", width, queries
    if layer.sharing != "reuse":
        yield "k_proj", width, keys
        if layer.has_values:
            yield "v_proj", width, keys
    yield "o_proj", queries, width
    yield "gate_proj", width, inner
    yield "up_proj", width, inner
    yield "down_proj", inner, width
    if gemma.per_layer_width:
        yield "per_layer_input_gate", width, gemma.per_layer_width
        yield "per_layer_projection", gemma.per_layer_width, width


def norms(gemma: Gemma, layer: Layer) -> int:
    """Numbers in a layer's norms and scales."""
    count = 4 * gemma.hidden_size + layer.head_width
    count += layer.head_width if layer.sharing != "reuse" else 0
    count += gemma.hidden_size if gemma.per_layer_width else 0
    count += 3 * gemma.hidden_size if gemma.experts else 0
    return count


def experts(gemma: Gemma) -> int:
    """Numbers in the experts of one layer."""
    if gemma.experts is None:
        return 0
    return 3 * gemma.experts.count * gemma.experts.intermediate_size * gemma.hidden_size


def router(gemma: Gemma) -> int:
    """Numbers in the router of one layer: its projection and two scales."""
    if gemma.experts is None:
        return 0
    return gemma.hidden_size * gemma.experts.count + gemma.hidden_size + gemma.experts.count


def projections(gemma: Gemma) -> int:
    """Numbers in the projections of all layers, which are what quantisation reaches."""
    return sum(i * o for layer in gemma.layers for _, i, o in linears(gemma, layer))


def embeddings(gemma: Gemma) -> int:
    """Numbers in the token table, and in the output head where that is one of its own."""
    return gemma.vocab_size * gemma.hidden_size * (1 if gemma.is_tied else 2)


def per_layer_table(gemma: Gemma) -> int:
    """Numbers in Gemma 4's per-layer embeddings."""
    return gemma.per_layer_vocab_size * gemma.per_layer_width * len(gemma.layers)


def unquantised(gemma: Gemma) -> int:
    """Numbers outside projections, experts and tables: norms, routers, the projection of inputs."""
    count = gemma.hidden_size
    count += sum(norms(gemma, layer) + router(gemma) for layer in gemma.layers)
    if gemma.per_layer_width:
        count += gemma.per_layer_width * (gemma.hidden_size * len(gemma.layers) + 1)
    return count


def text(gemma: Gemma) -> int:
    """Parameters of the language model."""
    return (
        projections(gemma)
        + embeddings(gemma)
        + per_layer_table(gemma)
        + unquantised(gemma)
        + experts(gemma) * len(gemma.layers)
    )


def towers(gemma: Gemma) -> int:
    """Numbers in the towers and their projections."""
    return sum(tower.parameters for tower in (gemma.vision, gemma.audio) if tower)


def adapted(gemma: Gemma, targets: Targets) -> tuple[frozenset[str], ...]:
    """Names of the projections that get an adapter, by layer."""
    return tuple(
        frozenset(name for name, _, _ in linears(gemma, layer) if is_meant(targets, index, name))
        for index, layer in enumerate(gemma.layers)
    )


def lora(
    gemma: Gemma,
    targets: Targets,
    r: int,
    *,
    is_dora: bool = False,
    adapts_experts: bool = False,
) -> int:
    """Numbers in a LoRA adapter."""
    tensors = adapter_tensors(gemma, targets, r, is_dora=is_dora, adapts_experts=adapts_experts)
    return sum(map(sum, tensors))


def adapter_tensors(
    gemma: Gemma, targets: Targets, r: int, *, is_dora: bool, adapts_experts: bool
) -> tuple[tuple[int, ...], ...]:
    """Numbers in each tensor of a LoRA adapter, by layer.

    DoRA adds a magnitude per output, and PEFT gives each expert rank r.
    """
    of_experts: list[int] = []
    if adapts_experts and gemma.experts:
        width, inner = gemma.hidden_size, gemma.experts.intermediate_size
        rank = r * gemma.experts.count
        of_experts = [rank * width, rank * 2 * inner, rank * inner, rank * width]
    layers = []
    for layer, names in zip(gemma.layers, adapted(gemma, targets), strict=True):
        sizes = []
        for name, inputs, outputs in linears(gemma, layer):
            if name in names:
                sizes += [r * inputs, r * outputs, *([outputs] if is_dora else [])]
        layers.append((*sizes, *of_experts))
    return tuple(layers)
