"""Builds the embedded tokenizer: Gemma's byte-fallback BPE with 4,096 entries."""

import json
import random
from collections.abc import Iterator
from itertools import islice
from string import ascii_letters, digits, punctuation

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import GemmaTokenizer
from trl.chat_template_utils import gemma4_v5_chat_template

from tools.embedded_model.architecture import VOCABULARY
from tools.embedded_model.corpus.conversations import conversations
from tools.embedded_model.corpus.reading import made_up_name

SPACE = "▁"
LEADING_IDS = 108
CONTROL = {
    "<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4,
    "<|tool>": 46, "<tool|>": 47, "<|tool_call>": 48, "<tool_call|>": 49,
    "<|tool_response>": 50, "<tool_response|>": 51, '<|"|>': 52,
    "<|think|>": 98, "<|channel>": 100, "<channel|>": 101, "<|turn>": 105, "<turn|>": 106,
    "\n": 107,
}  # fmt: skip
"""Gemma 4's control tokens at their real ids."""
MOVED = {
    "<|image>": 87, "<|audio>": 88, "<|image|>": 89, "<|audio|>": 90, "<image|>": 91,
    "<audio|>": 92, "<|video|>": 93,
}  # fmt: skip
"""Those whose ids (255999, 256000, 258880 to 258884) lie beyond the table, in reserved slots."""


def leading_tokens() -> list[str]:
    """The first 108 entries, control tokens in place and reserved names between them."""
    by_id = {number: token for token, number in (CONTROL | MOVED).items()}
    return [by_id.get(number, f"<unused{number}>") for number in range(LEADING_IDS)]


def text(seed: int, number: int) -> Iterator[str]:
    """The words of `number` conversations, and as many made-up names for the pieces of names.

    Only plain ASCII: all other characters are left to the bytes.
    """
    rng = random.Random(seed)
    for said in islice(conversations(seed), number):
        for user, model in said.turns:
            if user.isascii():
                yield f"{user} {model}"
        yield made_up_name(rng)
        if said.system:
            yield said.system


def learned(seed: int, number: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges learnt from the corpus.

    Words, single digits and punctuation marks are kept apart while learning, so no piece holds
    two digits, a mark with a letter, or parts of two words.
    """
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    bpe.normalizer = normalizers.Replace(" ", SPACE)
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(SPACE, "merged_with_next"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    octets = [f"<0x{value:02X}>" for value in range(256)]
    bpe.train_from_iterator(
        text(seed, number),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=leading_tokens() + octets,
            initial_alphabet=[SPACE, *(digits + ascii_letters + punctuation)],
            show_progress=False,
        ),
    )  # fmt: skip
    model = json.loads(bpe.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def build_tokenizer(seed: int = 0, number: int = 60_000) -> GemmaTokenizer:
    """The tokenizer, with Gemma 4's chat template as the installed TRL carries it."""
    vocabulary, merges = learned(seed, number)
    named = [token for token in CONTROL | MOVED if token != "\n"]
    tokenizer = GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        add_bos_token=False,
        padding_side="left",
        extra_special_tokens={slot(token): token for token in named[5:]},
        model_max_length=2048,
    )
    tokenizer.chat_template = gemma4_v5_chat_template
    return tokenizer


def slot(token: str) -> str:
    """The attribute a control token is kept under: `<|image|>` as image_token, and so on."""
    named = {"<|image>": "boi_token", "<image|>": "eoi_token", "<|audio>": "boa_token",
             "<audio|>": "eoa_token", '<|"|>': "quote_token",
             "<|turn>": "sot_token", "<turn|>": "eot_token"}  # fmt: skip
    plain = token.strip("<|>")
    side = "" if token.startswith("<|") and token.endswith("|>") else (
        "start_" if token.startswith("<|") else "end_"
    )  # fmt: skip
    return named.get(token, f"{side}{plain}_token")
