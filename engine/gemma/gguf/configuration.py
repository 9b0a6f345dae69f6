"""The config.json of the Gemma in a GGUF file, from what the file's head says."""

from typing import Any

from engine.gemma.gguf.header import Header
from engine.guarded import Unreadable

ARCHITECTURES = ("gemma3", "gemma4")
_SCALED = {(2560, 34), (3840, 48), (5376, 62)}
"""Width and layers of the Gemma 3 whose full attention is stretched eightfold (4B, 12B, 27B): said
by files that llama.cpp's converter wrote, and not by Ollama's."""
_WIDE = 62
"""Layers of Gemma 3 27B, whose attention is scaled by width over heads, not by the heads' width;
llama.cpp knows it by them too (src/models/gemma3.cpp)."""
_EVERY = 6
"""Of Gemma 3's layers one in six has full attention, which its files don't say."""
_MAX_LAYERS, _MAX_WIDTH = 1024, 1 << 20


def config_of(header: Header) -> dict[str, Any]:
    """What transformers makes the model of, without towers. Raises `Unreadable`."""
    architecture = _architecture(header.metadata)
    said = _Said(header.metadata, architecture)
    common = _common(header, said)
    text = _gemma3(said, common) if architecture == "gemma3" else _gemma4(header, said, common)
    number = architecture[-1]
    return {
        "architectures": [f"Gemma{number}ForCausalLM"],
        "model_type": f"{architecture}_text",
        **common,
        **text,
    }


def _architecture(metadata: dict[str, Any]) -> str:
    architecture, kind = metadata.get("general.architecture"), metadata.get("general.type")
    if architecture == "clip" or kind == "mmproj":
        raise Unreadable("it holds what reads images (mmproj), and no language model")
    if kind == "adapter":
        raise Unreadable("it holds an adapter, and no model")
    if architecture not in ARCHITECTURES:
        raise Unreadable(f"it holds a {str(architecture)[:40]!r}, and neither gemma3 nor gemma4")
    return str(architecture)


class _Said:
    """What a head says under its architecture's name."""

    def __init__(self, metadata: dict[str, Any], architecture: str) -> None:
        self._metadata, self._prefix = metadata, architecture

    def __call__(self, *keys: str, default: object = None) -> Any:
        for key in keys:
            if (value := self._metadata.get(f"{self._prefix}.{key}")) is not None:
                return value
        return default

    def whole(self, key: str, default: int | None = None) -> int:
        """A count of something, such as layers."""
        value = self(key, default=default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1 << 32:
            raise Unreadable(f"its {self._prefix}.{key} is {str(value)[:40]!r}")
        return value

    def number(self, *keys: str, default: float) -> float:
        """A number as it was before it was stored in 32 bits."""
        value = self(*keys, default=default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise Unreadable(f"its {self._prefix}.{keys[0]} is {str(value)[:40]!r}")
        return float(f"{value:.6g}")

    def of_layers(self, key: str, layers: int) -> list[Any]:
        """A value of each layer, or the one of all."""
        value = self(key)
        values = value if isinstance(value, list) else [value] * layers
        if len(values) < layers or not all(isinstance(each, int) for each in values):
            raise Unreadable(f"its {self._prefix}.{key} is {str(value)[:40]!r}")
        return values[:layers]


def _common(header: Header, said: _Said) -> dict[str, Any]:
    layers, width = said.whole("block_count"), said.whole("embedding_length")
    heads = said.whole("attention.head_count")
    if not 1 <= layers <= _MAX_LAYERS or not 1 <= width <= _MAX_WIDTH or not heads:
        raise Unreadable(f"it would have {layers:,} layers of {heads:,} heads, {width:,} wide")
    token = header.tensors.get("token_embd.weight")
    if token is None:
        raise Unreadable("it has no token_embd.weight, the table of its tokens")
    return {
        "vocab_size": token.rows,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "sliding_window": said.whole("attention.sliding_window"),
        "max_position_embeddings": said.whole("context_length"),
        "rms_norm_eps": said.number("attention.layer_norm_rms_epsilon", default=1e-6),
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **{
            f"{name}_token_id": header.metadata.get(f"tokenizer.ggml.{key}_token_id", default)
            for name, key, default in (("bos", "bos", 2), ("eos", "eos", 1), ("pad", "padding", 0))
        },
        "dtype": "bfloat16",
    }


def _gemma3(said: _Said, common: dict[str, Any]) -> dict[str, Any]:
    layers, width = common["num_hidden_layers"], common["hidden_size"]
    head_width = said.whole("attention.key_length", 256)
    full: dict[str, Any] = {"rope_type": "default"}
    factor = said.number("rope.scaling.factor", default=1.0)
    if said("rope.scaling.type") is None and (width, layers) in _SCALED:
        factor = 8.0
    if factor != 1.0 and said("rope.scaling.type", default="linear") == "linear":
        full = {"rope_type": "linear", "factor": factor}
    is_sliding = [(layer + 1) % _EVERY != 0 for layer in range(layers)]
    if isinstance(said("attention.sliding_window_pattern"), list):
        is_sliding = said.of_layers("attention.sliding_window_pattern", layers)
    return {
        "intermediate_size": said.whole("feed_forward_length"),
        "num_key_value_heads": said.whole("attention.head_count_kv"),
        "head_dim": head_width,
        "query_pre_attn_scalar": (
            width // common["num_attention_heads"] if layers == _WIDE else head_width
        ),
        "layer_types": _kinds(is_sliding),
        "rope_parameters": _rope(said, full),
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
    }


def _gemma4(header: Header, said: _Said, common: dict[str, Any]) -> dict[str, Any]:
    layers = common["num_hidden_layers"]
    is_sliding = said.of_layers("attention.sliding_window_pattern", layers)
    kv_heads = said.of_layers("attention.head_count_kv", layers)
    inner = said.of_layers("feed_forward_length", layers)
    sliding = next((kv for kv, is_local in zip(kv_heads, is_sliding, strict=True) if is_local), 0)
    full_layer = next((n for n, is_local in enumerate(is_sliding) if not is_local), 0)
    wide = said.whole("attention.key_length")
    tables = header.tensors.get("per_layer_token_embd.weight")
    table_rows = {"vocab_size_per_layer_input": tables.rows} if tables else {}
    share = {"rope_type": "proportional", "partial_rotary_factor": 0.25}
    return {
        **table_rows,
        "intermediate_size": min(inner),
        "use_double_wide_mlp": max(inner) == 2 * min(inner),
        "num_key_value_heads": sliding or kv_heads[full_layer],
        "num_global_key_value_heads": kv_heads[full_layer],
        "head_dim": said.whole("attention.key_length_swa", wide),
        "global_head_dim": wide,
        "attention_k_eq_v": f"blk.{full_layer}.attn_v.weight" not in header.tensors,
        "hidden_size_per_layer_input": said.whole("embedding_length_per_layer_input", 0),
        "num_kv_shared_layers": said.whole("attention.shared_kv_layers", 0),
        "layer_types": _kinds(is_sliding),
        "rope_parameters": _rope(said, share),
        "final_logit_softcapping": said.number("final_logit_softcapping", default=30.0),
        **_experts(said),
    }


def _experts(said: _Said) -> dict[str, Any]:
    count = said.whole("expert_count", 0)
    if not count:
        return {"enable_moe_block": False}
    return {
        "enable_moe_block": True,
        "num_experts": count,
        "top_k_experts": said.whole("expert_used_count"),
        "moe_intermediate_size": said.whole("expert_feed_forward_length"),
    }


def _kinds(is_sliding: list[Any]) -> list[str]:
    return ["sliding_attention" if each else "full_attention" for each in is_sliding]


def _rope(said: _Said, full: dict[str, Any]) -> dict[str, Any]:
    """Ollama's own converter names the bases otherwise than llama.cpp's."""
    base = said.number("rope.freq_base", "rope.global.freq_base", default=1e6)
    local = said.number("rope.freq_base_swa", "rope.local.freq_base", default=1e4)
    return {
        "full_attention": {**full, "rope_theta": base},
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }
