"""Tiny relatives of the embedded model: Gemma 3, Gemma 4 MoE, Gemma 4 multimodal.

Their weights are those that transformers begins with, or the doctor's own, of which golden figures
are known.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Gemma4Config,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    GemmaTokenizer,
    GenerationConfig,
    PreTrainedModel,
)
from trl.chat_template_utils import gemma3_chat_template

from engine.doctor.golden import seeded_weights
from engine.paths import EMBEDDED_WEIGHTS

GEMMA3_NAMES = {
    "<|turn>": "<start_of_turn>",
    "<turn|>": "<end_of_turn>",
    "<|image>": "<start_of_image>",
    "<image|>": "<end_of_image>",
}
"""Gemma 3's names for the entries that Gemma 4 calls otherwise; its turns are 105 and 106 too."""
THETA, LOCAL_THETA = 200_000.0, 3_000.0
PATTERN = ["sliding_attention", "full_attention"] * 2
TEXT: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": len(PATTERN),
    "layer_types": PATTERN,
    "num_attention_heads": 4,
    "head_dim": 16,
    "sliding_window": 32,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
LARGE: Mapping[str, Any] = {
    **TEXT,
    "num_key_value_heads": 2,
    "num_global_key_value_heads": 1,
    "global_head_dim": 32,
    "attention_k_eq_v": True,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "final_logit_softcapping": 30.0,
}
"""Of the large Gemma 4s: keys serve as values in the full layers, which have fewer key-value heads;
neither per-layer embeddings nor shared keys and values."""
VISION: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "patch_size": 16,
    "pooling_kernel_size": 3,
    "position_embedding_size": 64,
    "use_clipped_linears": True,
}
AUDIO: Mapping[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "subsampling_conv_channels": [8, 4],
    "output_proj_dims": 32,
    "use_clipped_linears": True,
}


def build_gemma3(path: Path, *, is_golden: bool = False) -> Path:
    """A Gemma 3 text model with Gemma 3's turn tokens and chat template, in `path`."""
    tokenizer = gemma3_tokenizer()
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=1,
        query_pre_attn_scalar=24,
        rope_parameters=_rope("default"),
        **TEXT,
    )
    model = Gemma3ForCausalLM(config)
    if is_golden:
        seeded_weights.fill(model, norm=0.0)
    saved(model, tokenizer, path, stops=[1, 106])
    _write_rope_as_published(path / "config.json")
    return path


def _rope(full: str, **settings: float) -> dict[str, Any]:
    """Rotary embeddings unlike the defaults, so that a setting which is lost is seen."""
    return {
        "sliding_attention": {"rope_type": "default", "rope_theta": LOCAL_THETA},
        "full_attention": {"rope_type": full, "rope_theta": THETA, **settings},
    }


def _write_rope_as_published(file: Path) -> None:
    """Name the thetas as the files of Gemma 3 do, which newer packages have to convert."""
    config = json.loads(file.read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": THETA, "rope_local_base_freq": LOCAL_THETA, "rope_scaling": None}
    file.write_text(json.dumps(config, indent=2))


def build_gemma4_moe(path: Path, *, is_golden: bool = False) -> Path:
    """A Gemma 4 text model with 26B-A4B's mechanisms, in `path`.

    Eight experts, two at work, beside the dense MLP.
    """
    tokenizer = gemma4_tokenizer()
    torch.manual_seed(0)
    config = Gemma4TextConfig(
        vocab_size=len(tokenizer),
        enable_moe_block=True,
        num_experts=8,
        top_k_experts=2,
        moe_intermediate_size=32,
        rope_parameters=_rope("proportional", partial_rotary_factor=0.25),
        **LARGE,
    )
    model = Gemma4ForCausalLM(config)
    if is_golden:
        seeded_weights.fill(model, norm=1.0)
    return saved(model, tokenizer, path)


def build_gemma4_multimodal(path: Path, *, is_golden: bool = False) -> Path:
    """A Gemma 4 with tiny vision and audio towers and the embedded model's kind of text part.

    Only the tokenizer is saved beside it: the full processor needs torchvision.
    """
    tokenizer = gemma4_tokenizer()
    torch.manual_seed(0)
    config = Gemma4Config(
        text_config=_small_e2b(len(tokenizer)),
        vision_config=VISION,
        audio_config=AUDIO,
        **placeholder_ids(tokenizer),
        eoa_token_index=tokenizer.convert_tokens_to_ids("<audio|>"),
        tie_word_embeddings=True,
    )
    model = Gemma4ForConditionalGeneration(config)
    if is_golden:
        seeded_weights.fill(model, norm=1.0)
    return saved(model, tokenizer, path)


BUILDERS: Mapping[str, Callable[..., Path]] = {
    "gemma3": build_gemma3,
    "gemma4_moe": build_gemma4_moe,
    "gemma4_multimodal": build_gemma4_multimodal,
}


def _small_e2b(vocabulary: int) -> dict[str, Any]:
    """The embedded model's text configuration with fewer and narrower layers."""
    return {
        **TEXT,
        "use_double_wide_mlp": True,
        "final_logit_softcapping": 30.0,
        "vocab_size": vocabulary,
        "vocab_size_per_layer_input": vocabulary,
        "hidden_size_per_layer_input": 16,
        "num_key_value_heads": 1,
        "global_head_dim": 32,
        "num_kv_shared_layers": 2,
        "rope_parameters": _rope("proportional", partial_rotary_factor=0.25),
    }


def placeholder_ids(tokenizer: GemmaTokenizer) -> dict[str, int]:
    """Tokens of Gemma 4 that stand for images, video and sound, by their names in its config."""
    tokens = {
        "boi": "<|image>",
        "eoi": "<image|>",
        "image": "<|image|>",
        "video": "<|video|>",
        "boa": "<|audio>",
        "audio": "<|audio|>",
    }
    return {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()
    }


def gemma4_tokenizer() -> GemmaTokenizer:
    """The embedded model's."""
    return AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS)


def gemma3_tokenizer() -> GemmaTokenizer:
    """The embedded vocabulary under Gemma 3's names, adding `<bos>` as Gemma 3's tokenizer does."""
    table = json.loads(gemma4_tokenizer().backend_tokenizer.to_str())["model"]
    tokenizer = GemmaTokenizer(
        vocab={GEMMA3_NAMES.get(token, token): index for token, index in table["vocab"].items()},
        merges=[tuple(merge) for merge in table["merges"]],
        add_bos_token=True,
        padding_side="left",
        model_max_length=1024,
        extra_special_tokens={
            "sot_token": "<start_of_turn>",
            "eot_token": "<end_of_turn>",
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
        },
    )
    tokenizer.chat_template = gemma3_chat_template
    return tokenizer


def saved(
    model: PreTrainedModel,
    tokenizer: GemmaTokenizer,
    path: Path,
    stops: Sequence[int] = (1, 106, 50),
) -> Path:
    """Write model and tokenizer into the folder, and return it."""
    model.generation_config = GenerationConfig(
        do_sample=False, pad_token_id=0, bos_token_id=2, eos_token_id=list(stops)
    )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
