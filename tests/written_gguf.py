"""A Gemma's folder written as a GGUF file, by llama.cpp's own package and by its rules."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

Quantise = Callable[[np.ndarray], np.ndarray]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2", "router.proj": "ffn_gate_inp",
    "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps", "experts.down_proj": "ffn_down_exps",
    "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm", "layer_scalar": "layer_output_scale",
    "embed_tokens": "token_embd", "norm": "output_norm",
    "embed_tokens_per_layer": "per_layer_token_embd",
    "per_layer_model_projection": "per_layer_model_proj",
    "per_layer_projection_norm": "per_layer_proj_norm",
}  # fmt: skip
"""What llama.cpp calls modules (gguf-py/gguf/tensor_mapping.py)."""


def write(
    folder: Path, file: Path, kind: str = "F32", *, quantise: Quantise | None = None, **changes: Any
) -> Path:
    """Write the decoder of a Gemma in `folder`, its matrices as `kind` where their rows allow.

    `changes` are of the head's entries; `quantise` makes the bytes of a kind that the package only
    reads. Gives the file.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def add_head(writer: Any) -> None:
        _add_tokens(writer, folder, model.config.get_text_config(), is_gemma3(model))
        for key, value in changes.items():
            writer.add_string(key.replace("__", "."), value)

    return write_model(model, file, add_head, kind, quantise)


def is_gemma3(model: Any) -> bool:
    """Whether it is one; else a Gemma 4."""
    return "gemma3" in model.config.get_text_config().model_type


def write_model(
    model: Any,
    file: Path,
    add_head: Callable[[Any], None],
    kind: str = "F32",
    quantise: Quantise | None = None,
) -> Path:
    """Write a model's decoder; `add_head` adds its vocabulary, and what else the head is to say."""
    config = model.config.get_text_config()
    writer = gguf.GGUFWriter(str(file), "gemma3" if is_gemma3(model) else "gemma4")
    _add_shape(writer, config, is_gemma3(model))
    add_head(writer)
    for name, values in tensors(model):
        _add_tensor(writer, name, values, kind, quantise)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def tensors(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors as llama.cpp's converter names and changes them."""
    config, has_one_more = model.config.get_text_config(), is_gemma3(model)
    for name, tensor in named(model.get_decoder()):
        values = tensor.detach().float().numpy()
        if has_one_more and name.endswith("norm.weight"):
            values = values + 1
        if has_one_more and "attn_q_norm" in name:
            # The format has no word for another scale of attention than the heads' width.
            values = values * np.float32((config.head_dim / config.query_pre_attn_scalar) ** 0.5)
        yield name, values


def named(decoder: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """A decoder's own tensors by llama.cpp's names."""
    for name, tensor in {
        **dict(decoder.named_parameters()),
        **dict(decoder.named_buffers()),
    }.items():
        stem = name.removesuffix(".weight")
        layer, _, module = stem.removeprefix("layers.").partition(".")
        place, known = ("", stem) if not stem.startswith("layers.") else (f"blk.{layer}.", module)
        if known in NAMES:
            theirs = f"{place}{NAMES[known]}"
            yield theirs if theirs.endswith(".scale") else f"{theirs}.weight", tensor


def _add_tensor(
    writer: Any, name: str, values: np.ndarray, kind: str, quantise: Quantise | None
) -> None:
    quantisation = gguf.GGMLQuantizationType[kind]
    block = gguf.GGML_QUANT_SIZES[quantisation][0]
    if values.ndim < 2 or values.shape[-1] % block or kind == "F32":
        writer.add_tensor(name, np.ascontiguousarray(values))
    elif kind == "F16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        packed = quantise(values) if quantise else gguf.quants.quantize(values, quantisation)
        writer.add_tensor(name, packed, raw_dtype=quantisation)


def _add_shape(writer: Any, config: Any, is_gemma3: bool) -> None:
    rope = config.rope_parameters
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    is_sliding = [kind == "sliding_attention" for kind in config.layer_types]
    writer.add_sliding_window_pattern(is_sliding)
    if is_gemma3:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        return
    writer.add_final_logit_softcapping(config.final_logit_softcapping)
    full, sliding = (
        config.per_layer_config[kind] for kind in ("full_attention", "sliding_attention")
    )
    heads, few = sliding.num_key_value_heads, full.num_key_value_heads
    writer.add_head_count_kv([heads if each else few for each in is_sliding])
    writer.add_key_length(full.head_dim)
    writer.add_value_length(full.head_dim)
    writer.add_key_length_swa(sliding.head_dim)
    writer.add_value_length_swa(sliding.head_dim)
    writer.add_rope_dimension_count(full.head_dim)
    writer.add_rope_dimension_count_swa(sliding.head_dim)
    writer.add_shared_kv_layers(config.num_kv_shared_layers)
    writer.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input)
    first_shared = config.num_hidden_layers - config.num_kv_shared_layers
    writer.add_feed_forward_length([
        config.intermediate_size * (2 if config.use_double_wide_mlp and n >= first_shared else 1)
        for n in range(config.num_hidden_layers)
    ])  # fmt: skip
    if config.enable_moe_block:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.top_k_experts)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    turning = int(full.head_dim * rope["full_attention"]["partial_rotary_factor"] / 2)
    factors = [1.0] * turning + [1e30] * (full.head_dim // 2 - turning)
    writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))


def _add_tokens(writer: Any, folder: Path, config: Any, is_gemma3: bool) -> None:
    """Scores stand for merges in Gemma 3's files; the best merge has the highest."""
    document = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    added = {each["content"]: each for each in document["added_tokens"]}
    vocabulary = document["model"]["vocab"] | {t: each["id"] for t, each in added.items()}
    merges = [tuple(merge) for merge in document["model"]["merges"]]
    rank: dict[str, int] = {}
    for number, (left, right) in enumerate(merges):
        rank.setdefault(left + right, number)
    tokens, kinds, scores = [], [], []
    for token in sorted(vocabulary, key=lambda each: int(vocabulary[each])):
        kind = gguf.TokenType.NORMAL
        if token.startswith("<0x") and len(token) == 6:
            kind = gguf.TokenType.BYTE
        elif token in added:
            is_special = added[token]["special"]
            kind = gguf.TokenType.CONTROL if is_special else gguf.TokenType.USER_DEFINED
        tokens.append(token)
        kinds.append(kind)
        scores.append(-float(rank[token]) if token in rank else -1e6)
    assert len(tokens) == config.vocab_size
    writer.add_tokenizer_model("llama" if is_gemma3 else "gemma4")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if is_gemma3:
        writer.add_token_scores(scores)
    else:
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text())
    elif settings.get("chat_template"):
        writer.add_chat_template(settings["chat_template"])
