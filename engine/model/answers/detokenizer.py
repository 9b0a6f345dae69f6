"""Tokens of an answer as text, piece by piece, never in the middle of a character."""

import re

from engine.data.encoding.tokenizer import Tokenizer

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class IncrementalDetokenizer:
    """Takes tokens one by one; what it gives out is, joined, the text of all of them.

    Characters without a token of their own come as tokens of single bytes. A run of those becomes
    text when it is over: one wrong byte in it makes all of it unreadable.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending: list[int] = []

    def add(self, token: int) -> str:
        """The text that a token completes; often empty."""
        self._pending.append(token)
        return "" if self._is_byte(token) else self.rest()

    def rest(self) -> str:
        """The text of tokens that are still pending, at the end of the answer."""
        pending, self._pending = self._pending, []
        return self._tokenizer.decode(pending, skip_special_tokens=True) if pending else ""

    def _is_byte(self, token: int) -> bool:
        return bool(_BYTE.fullmatch(self._tokenizer.convert_ids_to_tokens(token)))
