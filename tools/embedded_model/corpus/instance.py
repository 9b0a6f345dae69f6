"""One question with its checkable answer, and the rule that keeps some of them unseen."""

import random
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

HELD_OUT_ONE_IN = 20


@dataclass(frozen=True)
class Instance:
    """A question made from a template: (family, wording, slots) names it.

    `expected` is the key part of `answer`: a reply is right when it contains it whole.
    """

    family: str
    wording: str
    slots: tuple[str, ...]
    question: str
    answer: str
    expected: str

    @property
    def unseen(self) -> bool:
        """Whether this instance is held out of training: about one in twenty, for ever the same.

        What is held out is the combination of a wording and its slot values, so a lookup's unseen
        instance is a known item asked in a wording it was never asked in.
        """
        name = "\x1f".join((self.family, self.wording, *self.slots)).encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest()) % HELD_OUT_ONE_IN == 0

    def answered_by(self, reply: str) -> bool:
        """True when the expected words stand in the reply, not inside a longer word or number."""
        return re.search(rf"(?<!\w){re.escape(self.expected)}(?!\w)", reply) is not None


class Family(Protocol):
    """A source of instances of one sort."""

    @property
    def name(self) -> str: ...

    def draw(self, rng: random.Random) -> Instance: ...


def sentence(text: str) -> str:
    """The text with its first letter made a capital, as a question or an answer begins."""
    return text[:1].upper() + text[1:]
