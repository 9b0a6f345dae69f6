"""What llama.cpp reads of a Gemma before its weights: shape, tokens and chat template.

As llama.cpp's own converter writes it (ggml-org/llama.cpp, conversion/gemma.py), by the `gguf`
package; Gemma 3's scores stand for its merges, the best of which has the highest.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np

from engine.gemma.shapes import Gemma

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_VISIBLE = {
    "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
    "<tool_response|>", '<|"|>',
}  # fmt: skip
"""Of Gemma 4's: what programs have to see in answers, which control tokens are left out of."""
_SPACE = "\u2581"
_NO_MERGE = -1000.0


class Entry(NamedTuple):
    """A tensor as the head announces it."""

    name: str
    shape: tuple[int, ...]
    kind: str
    """Its number format."""
    num_bytes: int


def head(
    place: Path,
    name: str,
    kind: str,
    gemma: Gemma,
    config: Any,
    tokenizer: Any,
    template: str,
    entries: Iterable[Entry],
) -> bytes:
    """The bytes up to the first tensor's. `place` is a file that is made on the way, and removed.

    `config` is transformers' of the language model.
    """  # fmt: skip
    writer = gguf.GGUFWriter(str(place), f"gemma{gemma.generation}")
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name)
        writer.add_file_type(_FILE_TYPES[kind])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_shape(writer, gemma, config)
        _add_tokens(writer, gemma, tokenizer)
        writer.add_chat_template(template)
        for entry in entries:
            quantisation = gguf.GGMLQuantizationType[entry.kind]
            # Not of uint8, whose shapes would be taken for bytes.
            writer.add_tensor_info(
                entry.name, entry.shape, np.dtype("float32"), entry.num_bytes, quantisation
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        written = place.read_bytes()
    finally:
        place.unlink(missing_ok=True)
    return written + bytes(-len(written) % gguf.GGUF_DEFAULT_ALIGNMENT)


_FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16, "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}  # fmt: skip


def _add_shape(writer: Any, gemma: Gemma, config: Any) -> None:
    for key, value in _shape(gemma, config):
        name = f"gemma{gemma.generation}.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(name, value)


def _shape(gemma: Gemma, config: Any) -> Iterator[tuple[str, Any]]:
    """Keys below the architecture's name, which engine/gemma/gguf/configuration.py reads."""
    rope = config.rope_parameters
    yield "block_count", len(gemma.layers)
    yield "context_length", gemma.context_tokens
    yield "embedding_length", gemma.hidden_size
    yield "attention.head_count", gemma.heads
    yield "attention.layer_norm_rms_epsilon", float(config.rms_norm_eps)
    yield "attention.sliding_window", gemma.sliding_window
    is_sliding = [layer.attention == "sliding" for layer in gemma.layers]
    yield "attention.sliding_window_pattern", is_sliding
    yield "rope.freq_base", float(rope["full_attention"]["rope_theta"])
    yield "rope.freq_base_swa", float(rope["sliding_attention"]["rope_theta"])
    if gemma.final_softcap:
        yield "final_logit_softcapping", float(gemma.final_softcap)
    if gemma.generation == 4:
        yield from _of_gemma4(gemma)
        return
    layer = gemma.layers[0]
    yield "feed_forward_length", layer.intermediate_size
    yield "attention.head_count_kv", layer.kv_heads
    yield "attention.key_length", layer.head_width
    yield "attention.value_length", layer.head_width
    if rope["full_attention"]["rope_type"] == "linear":
        yield "rope.scaling.type", "linear"
        yield "rope.scaling.factor", float(rope["full_attention"]["factor"])


def _of_gemma4(gemma: Gemma) -> Iterator[tuple[str, Any]]:
    full, sliding = (
        next(layer for layer in gemma.layers if layer.attention == kind)
        for kind in ("full", "sliding")
    )
    yield "attention.head_count_kv", [layer.kv_heads for layer in gemma.layers]
    yield "feed_forward_length", [layer.intermediate_size for layer in gemma.layers]
    for ending, width in (("", full.head_width), ("_swa", sliding.head_width)):
        yield f"attention.key_length{ending}", width
        yield f"attention.value_length{ending}", width
        yield f"rope.dimension_count{ending}", width
    yield "attention.shared_kv_layers", sum(layer.sharing == "reuse" for layer in gemma.layers)
    yield "embedding_length_per_layer_input", gemma.per_layer_width
    if gemma.experts:
        yield "expert_count", gemma.experts.count
        yield "expert_used_count", gemma.experts.per_token
        yield "expert_feed_forward_length", gemma.experts.intermediate_size


def rope_factors(gemma: Gemma, config: Any) -> list[float] | None:
    """What Gemma 4's full attention divides its frequencies by; those that don't turn by so much
    that it is as good as infinite. None for Gemma 3."""
    if gemma.generation == 3:
        return None
    width = next(layer.head_width for layer in gemma.layers if layer.attention == "full")
    turning = int(width * config.rope_parameters["full_attention"]["partial_rotary_factor"] / 2)
    return [1.0] * turning + [1e30] * (width // 2 - turning)


def _add_tokens(writer: Any, gemma: Gemma, tokenizer: Any) -> None:
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {each["content"]: each for each in document["added_tokens"]}
    vocabulary = document["model"]["vocab"] | {text: each["id"] for text, each in added.items()}
    merges = [(m if isinstance(m, list) else m.split(" ", 1)) for m in document["model"]["merges"]]
    rank: dict[str, int] = {}
    for number, (left, right) in enumerate(merges):
        rank.setdefault(left + right, number)
    named = {text for text in tokenizer.special_tokens_map.values() if isinstance(text, str)}
    # Rows that fill the table up have no token.
    tokens = [f"[PAD{number}]" for number in range(gemma.vocab_size)]
    kinds = [gguf.TokenType.UNUSED] * gemma.vocab_size
    scores = [_NO_MERGE] * gemma.vocab_size
    for text, number in vocabulary.items():
        # Gemma 3's text models have a token for images behind their table's end.
        if number >= gemma.vocab_size:
            continue
        is_special = bool(text in named or (text in added and added[text]["special"]))
        kinds[number] = _kind(text, gemma, is_added=text in added, is_special=is_special)
        is_spaced = gemma.generation == 3 and kinds[number] is gguf.TokenType.USER_DEFINED
        tokens[number] = text.replace(_SPACE, " ") if is_spaced else text
        if gemma.generation == 3 and text in rank:
            scores[number] = -float(rank[text])
    writer.add_tokenizer_model("llama" if gemma.generation == 3 else "gemma4")
    if gemma.generation == 3:
        writer.add_tokenizer_pre("default")
    else:
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(True)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(vocabulary["<unk>"])
    writer.add_eot_token_id(vocabulary["<end_of_turn>" if gemma.generation == 3 else "<turn|>"])


def _kind(text: str, gemma: Gemma, *, is_added: bool, is_special: bool) -> Any:
    if _BYTE.fullmatch(text):
        return gguf.TokenType.BYTE
    if text == "<unk>" and gemma.generation == 3:
        return gguf.TokenType.UNKNOWN
    if gemma.generation == 4 and text in _VISIBLE:
        return gguf.TokenType.USER_DEFINED
    if is_special:
        return gguf.TokenType.CONTROL
    return gguf.TokenType.USER_DEFINED if is_added else gguf.TokenType.NORMAL
