"""What llama.cpp calls a Gemma's tensors, what transformers does, and the shapes they have."""

from collections.abc import Iterator

from engine.gemma.gguf.header import Header, Tensor
from engine.gemma.shapes import Gemma, Layer
from engine.guarded import Unreadable, first_few

Shape = tuple[int, ...]
_WITHOUT_USE = ("rope_freqs.", "v.", "mm.", "a.", "mtp.")
"""Beginnings of names of what is left out: constants of llama.cpp, and the towers that Ollama
keeps in the same file."""


def tensors(header: Header, gemma: Gemma) -> dict[str, Tensor]:
    """Every tensor that the model is made of, by its name in transformers.

    Raises `Unreadable` where one lacks, has another shape, or is of another model.
    """
    stored = dict(header.tensors)
    named: dict[str, Tensor] = {}
    missing = []
    for theirs, ours, shape in expected(gemma):
        tensor = stored.pop(theirs, None)
        if tensor is None:
            missing.append(theirs)
        elif tensor.shape != shape:
            is_to_be = f"{' x '.join(map(str, tensor.shape))}, and its head says "
            raise Unreadable(f"{theirs} is {is_to_be}{' x '.join(map(str, shape))}")
        else:
            named[ours] = tensor
    if missing:
        raise Unreadable(f"it lacks {first_few(missing, 3)}")
    if odd := [name for name in stored if not _is_needless(name, gemma)]:
        raise Unreadable(f"it has tensors that no Gemma has: {first_few(odd, 3)}")
    return named


def adds_one(gemma: Gemma, name: str) -> bool:
    """Whether llama.cpp stores a tensor as one plus what transformers does: Gemma 3's norms."""
    return gemma.generation == 3 and name.endswith("norm.weight")


def query_width(gemma: Gemma) -> int:
    """The width by which llama.cpp scales Gemma 3's queries (src/models/gemma3.cpp).

    It is the heads', but in 27B, which it knows by its layers.
    """
    is_wide = len(gemma.layers) == _WIDE
    return gemma.hidden_size // gemma.heads if is_wide else gemma.layers[0].head_width


_WIDE = 62


def _is_needless(name: str, gemma: Gemma) -> bool:
    if name.startswith(_WITHOUT_USE):
        return True
    part = name.split(".")
    is_layer = len(part) > 2 and part[0] == "blk" and part[1].isdigit()
    if not is_layer or int(part[1]) >= len(gemma.layers):
        return False
    # Hub checkpoints keep keys and values for layers that read those of earlier ones.
    reuses = gemma.layers[int(part[1])].sharing == "reuse"
    return part[2] == "rope_freqs" or (reuses and part[2] in {"attn_k", "attn_v", "attn_k_norm"})


def expected(gemma: Gemma) -> Iterator[tuple[str, str, Shape]]:
    """Name in the file, name in transformers, and shape."""
    width, layers = gemma.hidden_size, len(gemma.layers)
    yield "token_embd.weight", "model.embed_tokens.weight", (gemma.vocab_size, width)
    yield "output_norm.weight", "model.norm.weight", (width,)
    if not gemma.is_tied:
        yield "output.weight", "lm_head.weight", (gemma.vocab_size, width)
    if own := gemma.per_layer_width:
        table, model = "per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight"
        yield table, model, (gemma.per_layer_vocab_size, layers * own)
        model = "model.per_layer_model_projection.weight"
        yield "per_layer_model_proj.weight", model, (layers * own, width)
        yield "per_layer_proj_norm.weight", "model.per_layer_projection_norm.weight", (own,)
    for index, layer in enumerate(gemma.layers):
        for theirs, ours, shape in _of_layer(gemma, layer):
            ending = "" if ours in _WITHOUT_ENDING else ".weight"
            theirs += "" if theirs.endswith(".scale") else ".weight"
            yield f"blk.{index}.{theirs}", f"model.layers.{index}.{ours}{ending}", shape


_WITHOUT_ENDING = {
    "layer_scalar", "router.scale", "router.per_expert_scale", "experts.gate_up_proj",
    "experts.down_proj",
}  # fmt: skip
"""Parameters that transformers keeps without a module of their own."""


def _of_layer(gemma: Gemma, layer: Layer) -> Iterator[tuple[str, str, Shape]]:
    width, inner, head = gemma.hidden_size, layer.intermediate_size, layer.head_width
    queries, keys = gemma.heads * head, layer.kv_heads * head
    yield "attn_norm", "input_layernorm", (width,)
    yield "post_attention_norm", "post_attention_layernorm", (width,)
    yield "ffn_norm", "pre_feedforward_layernorm", (width,)
    yield "post_ffw_norm", "post_feedforward_layernorm", (width,)
    yield "attn_q", "self_attn.q_proj", (queries, width)
    yield "attn_q_norm", "self_attn.q_norm", (head,)
    yield "attn_output", "self_attn.o_proj", (width, queries)
    if layer.sharing != "reuse":
        yield "attn_k", "self_attn.k_proj", (keys, width)
        yield "attn_k_norm", "self_attn.k_norm", (head,)
        if layer.has_values:
            yield "attn_v", "self_attn.v_proj", (keys, width)
    yield "ffn_gate", "mlp.gate_proj", (inner, width)
    yield "ffn_up", "mlp.up_proj", (inner, width)
    yield "ffn_down", "mlp.down_proj", (width, inner)
    if gemma.generation == 4:
        yield "layer_output_scale", "layer_scalar", (1,)
        yield from _of_gemma4(gemma)


def _of_gemma4(gemma: Gemma) -> Iterator[tuple[str, str, Shape]]:
    width = gemma.hidden_size
    if own := gemma.per_layer_width:
        yield "inp_gate", "per_layer_input_gate", (own, width)
        yield "proj", "per_layer_projection", (width, own)
        yield "post_norm", "post_per_layer_input_norm", (width,)
    if experts := gemma.experts:
        count, inner = experts.count, experts.intermediate_size
        yield "post_ffw_norm_1", "post_feedforward_layernorm_1", (width,)
        yield "post_ffw_norm_2", "post_feedforward_layernorm_2", (width,)
        yield "pre_ffw_norm_2", "pre_feedforward_layernorm_2", (width,)
        yield "ffn_gate_inp", "router.proj", (count, width)
        yield "ffn_gate_inp.scale", "router.scale", (width,)
        yield "ffn_gate_up_exps", "experts.gate_up_proj", (count, 2 * inner, width)
        yield "ffn_down_exps", "experts.down_proj", (count, width, inner)
        yield "ffn_down_exps.scale", "router.per_expert_scale", (count,)
