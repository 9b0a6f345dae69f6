"""Repeating text word for word: names, strings of letters, other scripts, signs."""

import random
from string import ascii_letters, punctuation

from tools.embedded_model.corpus.instance import Instance
from tools.embedded_model.corpus.reading import made_up_name
from tools.embedded_model.corpus.tables import short_words

ASKING = (
    "Repeat: {t}", "Say this again: {t}", "Repeat after me: {t}", "Copy this: {t}",
    "Write this once more: {t}", "Please repeat: {t}", "Echo: {t}",
)  # fmt: skip
SCRIPTS = (
    ("À", "ÿ"), ("Ā", "ž"), ("Α", "ω"), ("А", "я"), ("א", "ת"), ("ا", "ي"), ("अ", "ह"),
    ("가", "힣"), ("あ", "ん"), ("ア", "ン"), ("一", "龥"), ("→", "⇿"), ("😀", "🙏"), ("🌀", "🏿"),
)  # fmt: skip
"""First and last character of blocks of Unicode; a small vocabulary spells them in bytes."""


def foreign(rng: random.Random) -> str:
    """Two to four characters of one script other than plain Latin."""
    first, last = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(ord(first), ord(last))) for _ in range(rng.randint(2, 4)))


def word(rng: random.Random) -> str:
    """One word of any sort."""
    chance = rng.random()
    if chance < 0.35:
        return made_up_name(rng)
    if chance < 0.60:
        return rng.choice(short_words())
    if chance < 0.75:
        return "".join(rng.choices(ascii_letters, k=rng.randint(2, 6)))
    if chance < 0.85:
        return str(rng.randint(0, 9999))
    return rng.choice(punctuation) if chance < 0.88 else foreign(rng)


class Repeating:
    """One to three words to say again."""

    name = "repeating"

    def draw(self, rng: random.Random) -> Instance:
        """A random text to repeat."""
        text = " ".join(word(rng) for _ in range(rng.randint(1, 3)))
        wording = rng.choice(ASKING)
        return Instance(self.name, wording, (text,), wording.replace("{t}", text), text, text)
