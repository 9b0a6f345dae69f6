"""The embedded model's shape: Gemma 4 E2B's mechanisms at about one thousandth of its size."""

import math

import torch
from transformers import Gemma4ForCausalLM, Gemma4TextConfig, GenerationConfig

VOCABULARY = 4096
PATTERN = ("sliding_attention", "sliding_attention", "full_attention") * 2


def configuration() -> Gemma4TextConfig:
    """Six layers of width 128, the last three without keys and values of their own.

    As in E2B: per-layer embeddings, two head sizes (32 in sliding layers, 64 in full ones), one
    key-value head, a double-wide MLP where keys and values are shared, logits capped at 30.
    """
    return Gemma4TextConfig(
        vocab_size=VOCABULARY,
        vocab_size_per_layer_input=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=len(PATTERN),
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        global_head_dim=64,
        hidden_size_per_layer_input=64,
        num_kv_shared_layers=3,
        use_double_wide_mlp=True,
        layer_types=list(PATTERN),
        sliding_window=128,
        max_position_embeddings=2048,
        final_logit_softcapping=30.0,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )


def generation() -> GenerationConfig:
    """Greedy by default, stopping where Gemma 4 stops: `<eos>`, `<turn|>`, `<|tool_response>`."""
    return GenerationConfig(
        do_sample=False, pad_token_id=0, bos_token_id=2, eos_token_id=[1, 106, 50]
    )


@torch.no_grad()
def fresh_model(seed: int) -> Gemma4ForCausalLM:
    """A model in fp32 with random weights that are fit to train from.

    Three starting values differ from the library's: embeddings that are of unit size after
    Gemma's scaling by sqrt(width), quiet outputs of every block so that the residual stream begins
    as the embedding, and queries small enough for soft attention, since Gemma 4 scales
    normalised queries and keys by one.
    """
    torch.manual_seed(seed)
    model = Gemma4ForCausalLM(configuration())
    model.model.embed_tokens.weight.normal_(std=1 / math.sqrt(model.config.hidden_size))
    for layer in model.model.layers:
        layer.self_attn.q_norm.weight.fill_(layer.self_attn.head_dim**-0.5 * 2)
        for norm in (
            layer.post_attention_layernorm,
            layer.post_feedforward_layernorm,
            layer.post_per_layer_input_norm,
        ):
            norm.weight.fill_(0.3)
    model.generation_config = generation()
    return model
