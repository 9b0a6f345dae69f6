"""Texts as token ids by way of their words, each of which the tokenizer encodes once.

All text between two control tokens is one word to Gemma's tokenizer, and merging the pairs in it
takes most of the time in which rows are prepared. But no token reaches over the start of a run of
blanks or over a bound of a run of line breaks, apart from some that are known by name (`> </` is
one of Gemma 4's). So what stands between these has the same ids wherever it stands, and rows say
most of their words again and again.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from engine.data.encoding.tokenizer import Tokenizer

_BLANK = "\u2581"
"""What Gemma's tokenizers write for a blank."""
_END, _CUT = "\0", "\1"
"""Put into a text where a word ends and where it is cut."""
_WITHIN_WORD = re.compile(r" *[^ \n]*|\n+")
_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": _BLANK}
_BEFORE_WORDS = (None, {"type": "Split", "pattern": {"String": " "},
                        "behavior": "MergedWithPrevious", "invert": False})  # fmt: skip
"""Ways to split a text before its pairs are merged that leave it whole, as no blank is left."""
_MOST_ACROSS = 16
_WORDS_A_TEXT = 500
"""Of those that are encoded as one, so that every core has texts of its own."""
_MOST_WORDS, _LONGEST_KEPT = 200_000, 40
"""Of the words that are remembered: their number, and their characters."""

Words = list[str]


@dataclass(slots=True)
class WordEncoder:
    """Encodes texts by their words; `backend` is a Rust tokenizer."""

    backend: Any
    across: tuple[str, ...]
    """What no text may hold whose words are encoded one by one."""
    controls: tuple[str, ...]
    """Tokens that are found in a text before all else, so that words end before and after them."""
    _ids_of: dict[str, bytes] = field(default_factory=dict)
    """Ids of words, as memory holds an array of int32: bytes are joined faster than lists."""

    def parts(self, text: str, cuts: Iterable[int]) -> list[Words] | None:
        """The words before, between and after some places of a text.

        None where ids don't follow from words, or a place is within a word.
        """
        for mark in self.across:
            if mark in text:
                return None
        pieces, start = [], 0
        for cut in cuts:
            if not self._is_bound(text, cut):
                return None
            pieces.append(text[start:cut])
            start = cut
        pieces.append(text[start:])
        return [part.split(_END) for part in _with_ends(_CUT.join(pieces)).split(_CUT)]

    def _encoded(self, words: Words) -> Iterator[bytes]:
        """Ids of each word; many stand in one text, parted by a control token, as texts cost."""
        between = self._absent_control("".join(words))
        size = _WORDS_A_TEXT if between else 1
        texts = [between.join(words[start : start + size]) for start in range(0, len(words), size)]
        number = self.backend.token_to_id(between) if between else -1
        for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False):
            ids = np.array(encoding.ids, np.int32)
            content, start = ids.tobytes(), 0
            for end in [*(np.flatnonzero(ids == number) * ids.itemsize).tolist(), len(content)]:
                yield content[start:end]
                start = end + ids.itemsize

    def _absent_control(self, text: str) -> str:
        """A control token that neither stands in a text nor for letters that have no token."""
        unknown = self.backend.model.unk_token
        return next((one for one in self.controls if one != unknown and one not in text), "")

    def _is_bound(self, text: str, at: int) -> bool:
        before, after = text[at - 1 : at], text[at : at + 1]
        if (before == "\n") != (after == "\n") or before != " " == after:
            return True
        return text.endswith(self.controls, 0, at) or text.startswith(self.controls, at)

    def encode(self, texts: list[list[Words]]) -> list[list[list[int]]]:
        """Ids of each part of each text."""
        if len(self._ids_of) > _MOST_WORDS:
            self._ids_of.clear()
        ids_of = self._ids_of
        words: set[str] = set().union(*chain.from_iterable(texts))
        new = list(words - ids_of.keys())
        ids_of.update(zip(new, self._encoded(new), strict=True))
        of_word = ids_of.__getitem__
        ids = [[_numbers(b"".join(map(of_word, part))) for part in parts] for parts in texts]
        for word in new:
            if len(word) > _LONGEST_KEPT:
                del ids_of[word]
        return ids


def _with_ends(text: str) -> str:
    """The text with a mark between any two words; methods of text are faster than an expression."""
    text = text.replace(" ", f"{_END} ")
    while f" {_END} " in text:
        text = text.replace(f" {_END} ", "  ")
    text = text.replace("\n", f"{_END}\n{_END}")
    while f"\n{_END}{_END}\n" in text:
        text = text.replace(f"\n{_END}{_END}\n", "\n\n")
    return text


def _numbers(ids: bytes) -> list[int]:
    return memoryview(ids).cast("i").tolist()


def word_encoder(tokenizer: Tokenizer) -> WordEncoder | None:
    """For a tokenizer as Gemma's are; None for one that works in another way."""
    backend = tokenizer.backend_tokenizer
    is_like_gemmas = (
        _state(backend.normalizer) == _NORMALIZER
        and _state(backend.pre_tokenizer) in _BEFORE_WORDS
        and type(backend.model).__name__ == "BPE"
        and not backend.model.dropout
        and not backend.model.ignore_merges
        and not backend.model.continuing_subword_prefix
        and not backend.model.end_of_word_suffix
        and backend.truncation is backend.padding is None
    )
    if not is_like_gemmas:
        return None
    rules = _rules(tokenizer, backend.get_vocab_size())
    return None if rules is None else WordEncoder(backend, *rules)


def _state(part: Any) -> Any:
    return None if part is None else json.loads(part.__getstate__())


@lru_cache(maxsize=4)
def _rules(tokenizer: Tokenizer, size: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """What reaches over a word's bounds, if it is little, and control tokens that end words.

    They are kept, as they take a look at every token.
    """
    across = _across(tokenizer.backend_tokenizer, size)
    return None if across is None else (across, _controls(tokenizer.backend_tokenizer))


def _across(backend: Any, size: int) -> tuple[str, ...] | None:
    """Tokens over a word's bounds, a blank's sign as such, and what is put into texts here."""
    added = backend.get_added_tokens_decoder().values()
    is_plain = not any(t.lstrip or t.rstrip or t.single_word or t.normalized for t in added)
    # Letters without a token of their own may be joined in one; these two have to stand apart.
    has_own = all(backend.token_to_id(sign) is not None for sign in (_BLANK, "\n"))
    if not (is_plain and has_own):
        return None
    tokens = (str(backend.id_to_token(number) or "").replace(_BLANK, " ") for number in range(size))
    across = [token for token in tokens if not _WITHIN_WORD.fullmatch(token)]
    return (_BLANK, _END, _CUT, *across) if len(across) <= _MOST_ACROSS else None


def _controls(backend: Any) -> tuple[str, ...]:
    """Special tokens, provided that no other token can begin or end within one of them."""
    added = backend.get_added_tokens_decoder().values()
    special = tuple(token.content for token in added if token.special)
    first, last = {name[0] for name in special}, {name[-1] for name in special}
    is_apart = all(
        first.isdisjoint(token.content[1:]) and last.isdisjoint(token.content[:-1])
        for token in added
    )
    return special if is_apart else ()
