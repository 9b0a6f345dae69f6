"""The tokenizer of a GGUF file, as transformers reads it: tokenizer.json and what stands beside.

Gemma 3's files hold SentencePiece scores in the place of merges (`tokenizer.ggml.model = llama`).
From them come the merges that its own tokenizer.json has, all 514,906 in their order: every way to
make a token of two others, best score first, then by the lengths of both
(huggingface/transformers, convert_slow_tokenizer.py, `generate_merges`).
"""

import math
import re
from typing import Any

from engine.gemma.gguf.header import Header
from engine.gemma.shapes import Gemma
from engine.guarded import Unreadable

_NORMAL, _CONTROL, _USER, _NEVER = 1, 3, 4, 5
"""Types of tokens (llama.h, `enum llama_token_type`)."""
_SPACE = "\u2581"
_UNUSED = re.compile(r"<unused\d+>|\[PAD\d+\]")
"""Not special: a model that writes one is seen to."""
_NAMED = {
    3: {"sot_token": "<start_of_turn>", "eot_token": "<end_of_turn>",
        "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
    4: {"sot_token": "<|turn>", "eot_token": "<turn|>", "image_token": "<|image|>",
        "boi_token": "<|image>", "eoi_token": "<image|>", "audio_token": "<|audio|>",
        "boa_token": "<|audio>", "eoa_token": "<audio|>", "soc_token": "<|channel>",
        "eoc_token": "<channel|>", "think_token": "<|think|>", "escape_token": '<|"|>',
        "str_token": "<|tool_response>", "etr_token": "<tool_response|>",
        "stc_token": "<|tool_call>", "etc_token": "<tool_call|>",
        "std_token": "<|tool>", "etd_token": "<tool|>"},
}  # fmt: skip
"""What each generation's tokenizer_config.json names, apart from what every tokenizer has."""
_ENDS = {3: ("<eos>", "<end_of_turn>"), 4: ("<eos>", "<turn|>", "<|tool_response>")}
"""Where a model stops (generation_config.json on the hub)."""
_MODEL = {
    "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
    "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
}  # fmt: skip
_AROUND: dict[str, Any] = {
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
    "pre_tokenizer": {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
        "invert": False,
    },
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ],
    },
}  # fmt: skip
_SETTINGS = {
    "tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>",
    "pad_token": "<pad>", "unk_token": "<unk>", "padding_side": "left", "add_eos_token": False,
    "clean_up_tokenization_spaces": False,
}  # fmt: skip
"""As the tokenizer.json and tokenizer_config.json of every Gemma 3 and 4 have it."""
_MAX_PADDING = 256
"""Rows of a table without a token; the 4B and larger ones of Gemma 3 have 63."""
_MAX_LETTERS = 256
"""Of a token that is split into pairs; the longest of Gemma has 48."""


def files_of(header: Header, gemma: Gemma) -> dict[str, Any]:
    """Documents by file name; the chat template, where there is one, is text.

    Raises `Unreadable` where the head holds no vocabulary of a Gemma.
    """
    tokens, types = _vocabulary(header.metadata, gemma)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise Unreadable("tokens stand in its vocabulary twice")
    lacking = [name for name in (*_ENDS[gemma.generation], "<bos>") if name not in vocabulary]
    if lacking:
        raise Unreadable(f"its vocabulary has no {lacking[0]}")
    named = {key: name for key, name in _NAMED[gemma.generation].items() if name in vocabulary}
    model = {
        **_MODEL,
        "vocab": vocabulary,
        "merges": _merges(header.metadata, tokens, types, vocabulary),
    }
    added = _all_added(tokens, types, {*named.values()})
    # Gemma 4's tokenizer leaves `<bos>` to the chat template.
    bos = vocabulary["<bos>"] if gemma.generation == 3 else None
    documents: dict[str, Any] = {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            **_AROUND,
            "post_processor": None if bos is None else _post_processor(bos),
            "model": model,
        },
        "tokenizer_config.json": {
            **_SETTINGS,
            "add_bos_token": bos is not None,
            "model_max_length": gemma.context_tokens,
            "extra_special_tokens": named,
        },
        "generation_config.json": {
            "bos_token_id": vocabulary["<bos>"],
            "pad_token_id": vocabulary.get("<pad>", 0),
            "eos_token_id": [vocabulary[name] for name in _ENDS[gemma.generation]],
        },
    }
    template = header.metadata.get("tokenizer.chat_template")
    if isinstance(template, str) and template.strip():
        documents["chat_template.jinja"] = template
    return documents


def _vocabulary(metadata: dict[str, Any], gemma: Gemma) -> tuple[list[str], list[int]]:
    tokens = _of_all(metadata, "tokens", str, gemma.vocab_size)
    types = _of_all(metadata, "token_type", int, gemma.vocab_size)
    padding = range(len(tokens), gemma.vocab_size)
    tokens, types = [*tokens, *(f"[PAD{n}]" for n in padding)], [*types, *(_NEVER for _ in padding)]
    # llama.cpp keeps runs of spaces as what they stand for.
    spaced = [
        token.replace(" ", _SPACE) if kind == _USER else token
        for token, kind in zip(tokens, types, strict=True)
    ]
    return spaced, types


def _of_all(metadata: dict[str, Any], what: str, kind: type, count: int) -> list[Any]:
    """A list with an entry for every token; rows that fill the table up need none."""
    values = metadata.get(f"tokenizer.ggml.{what}")
    if not isinstance(values, list) or not all(isinstance(each, kind) for each in values):
        raise Unreadable(f"it has no tokenizer.ggml.{what}")
    if not count - _MAX_PADDING <= len(values) <= count:
        message = f"its tokenizer.ggml.{what} has {len(values):,} entries"
        raise Unreadable(f"{message}, and its table of tokens {count:,}")
    return values


def _merges(
    metadata: dict[str, Any], tokens: list[str], types: list[int], vocabulary: dict[str, int]
) -> list[list[str]]:
    """Merges as they are listed (Gemma 4), or from scores (Gemma 3)."""
    listed, scores = (metadata.get(f"tokenizer.ggml.{key}") for key in ("merges", "scores"))
    if listed and all(isinstance(each, str) for each in listed):
        merges = [each.split(" ", 1) for each in listed]
        if any(len(pair) != 2 or "".join(pair) not in vocabulary for pair in merges):
            raise Unreadable("its tokenizer.ggml.merges make tokens that are not in its vocabulary")
        return merges
    if not isinstance(scores, list) or not 0 <= len(tokens) - len(scores) <= _MAX_PADDING:
        raise Unreadable("its tokenizer has neither merges nor a score for each token")
    scored = []
    for token, kind, score in zip(tokens, types, scores, strict=False):
        if not 1 < len(token) <= _MAX_LETTERS:
            continue
        if kind == _USER and token == token[0] * len(token):
            # Runs of spaces, tabs and line ends come before all that is learned.
            score = math.inf
        elif kind != _NORMAL:
            continue
        pairs = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        scored += [
            (score, len(left), len(right), left, right)
            for left, right in pairs
            if left in vocabulary and right in vocabulary
        ]
    scored.sort(key=lambda each: each[:3], reverse=True)
    return [[left, right] for *_, left, right in scored]


def _all_added(tokens: list[str], types: list[int], named: set[str]) -> list[dict[str, Any]]:
    """Tokens that are looked for whole; special ones are left out where an answer is read."""
    return [
        _added(number, token, is_special=token in named or _is_special(token, kind))
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (_CONTROL, _USER) or _UNUSED.fullmatch(token) or token in {"<unk>", *named}
    ]


def _is_special(token: str, kind: int) -> bool:
    return (kind == _CONTROL or token == "<unk>") and not _UNUSED.fullmatch(token)


def _added(number: int, token: str, *, is_special: bool) -> dict[str, Any]:
    return {
        "id": number, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": is_special,
    }  # fmt: skip


def _post_processor(bos: int) -> dict[str, Any]:
    """Puts `<bos>` in front, as Gemma 3's tokenizer does and Gemma 4's doesn't."""
    first = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    text, other = ({"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB"))
    second = {"SpecialToken": {"id": "<bos>", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second, other],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [bos], "tokens": ["<bos>"]}},
    }
