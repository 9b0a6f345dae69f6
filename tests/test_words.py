"""Ids put together word by word are those of the whole text, for tokenizers like Gemma's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from engine.data.conversation import Turn
from engine.data.encoding.template import template
from engine.data.encoding.tokens import Encoder
from engine.data.encoding.words import word_encoder

PAIRS = ("▁▁", "▁▁▁", "\n\n", "ab", "▁a", "▁ab", "a<", "</", "▁</", ">▁</", "b\n", "\t\t")
"""Each is made of two that come before it or of single letters; two reach over a word's bounds."""
PIECES = st.sampled_from(
    (" ", " ", "  ", "\n", "\n", "\n\n", "a", "ab", " ab", "<", "/", "\t", "<t>", "é", "안녕",
     "<|turn>", "<turn|>", "[x]", "\r\n", "\u00a0", "<pad>")
)  # fmt: skip
texts = st.lists(PIECES, max_size=8).map("".join)
odd_texts = st.tuples(texts, st.sampled_from(("", "", "> </", "b\n", "▁")), texts).map("".join)
few = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@dataclass(frozen=True, eq=False)
class Wrapped:
    """As much of transformers' class as is looked at."""

    backend_tokenizer: Tokenizer


def made(**changes: Any) -> Wrapped:
    """A tokenizer as Gemma's are, with tokens of `PAIRS`."""
    letters = [f"<0x{byte:02X}>" for byte in range(256)] + [*"▁\nab<>/\t"]
    tokens = {token: number for number, token in enumerate(("<unk>", *letters, *PAIRS))}
    splits = [
        next((pair[:at], pair[at:]) for at in range(1, len(pair))
             if pair[:at] in tokens and pair[at:] in tokens)
        for pair in PAIRS
    ]  # fmt: skip
    model = models.BPE(tokens, splits, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens(["<pad>", "<|turn>", "<turn|>"])
    tokenizer.add_tokens([AddedToken("<t>", normalized=False), AddedToken("[x]", normalized=False)])
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return Wrapped(tokenizer)


TOKENIZER = made()
BY_WORDS = word_encoder(TOKENIZER)


@given(before=odd_texts, pieces=st.lists(PIECES, min_size=1, max_size=4), after=odd_texts)
@hypothesis_settings(few, max_examples=600)
def test_words_give_the_ids_of_the_whole_text(before: str, pieces: list[str], after: str) -> None:
    assert BY_WORDS is not None
    text = "".join((before, *pieces, after))
    cuts = [len(before), len(before) + len(pieces[0])]
    parts = BY_WORDS.parts(text, cuts)
    odd = "▁" in text or "> </" in text or "b\n" in text
    assert (BY_WORDS.parts(text, ()) is None) == odd
    if parts is None:
        return
    (ids,) = BY_WORDS.encode([parts])
    whole = TOKENIZER.backend_tokenizer.encode(text, add_special_tokens=False)
    assert [*chain.from_iterable(ids)] == whole.ids
    bounds = [0, *cuts, len(text)]
    for part, start, end in zip(ids, bounds, bounds[1:], strict=False):
        own = [n for n, (a, b) in zip(whole.ids, whole.offsets, strict=True) if start <= a < end]
        assert part == own


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": None},
        {"normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])},
        {"pre_tokenizer": pre_tokenizers.Split(Regex("a"), "isolated")},
    ],
)
def test_a_tokenizer_that_works_in_another_way_is_not_asked_for_words(
    changes: dict[str, Any],
) -> None:
    assert word_encoder(made(**changes)) is None


@given(said=st.lists(odd_texts, min_size=2, max_size=6))
@few
def test_an_encoder_with_words_encodes_as_one_without(
    said: list[str], encoders: tuple[Encoder, Encoder]
) -> None:
    turns = [Turn(("user", "assistant")[n % 2], f"q{text}") for n, text in enumerate(said)]
    thought = Turn("assistant", "It is.", reasoning="Is it?", weight=0.5)
    talks = [tuple(turns), (turns[0], thought), (turns[0], replace(thought, weight=0), *turns)]
    plain, by_words = (encoder.encode(talks) for encoder in encoders)
    assert by_words == plain


@pytest.fixture(scope="module")
def encoders(gemma_folder: Callable[[str], Path]) -> tuple[Encoder, Encoder]:
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    words = word_encoder(tokenizer)
    assert words
    chosen = template("gemma4")
    return Encoder(tokenizer, chosen), Encoder(tokenizer, chosen, words=words)
