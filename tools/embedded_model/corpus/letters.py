"""Spelling: a word letter by letter, its first and last letter, its length, its capitals."""

import random

from tools.embedded_model.corpus.instance import Instance
from tools.embedded_model.corpus.tables import short_words

SPELL = (
    "Spell {w}.", "How do you spell {w}?", "How is {w} spelled?", "Spell the word {w}.",
    "Give me the letters of {w}.", "Which letters are in {w}?", "Tell me how to spell {w}.",
    "Write {w} letter by letter.", "Please spell {w}.",
)  # fmt: skip
FIRST = (
    "What is the first letter of {w}?",
    "Which letter does {w} begin with?",
    "{w} starts with which letter?",
    "Tell me the first letter of {w}.",
    "How does {w} begin?",
)
LAST = (
    "What is the last letter of {w}?",
    "Which letter does {w} end with?",
    "{w} ends with which letter?",
    "Tell me the last letter of {w}.",
    "How does {w} end?",
)
LENGTH = (
    "How many letters are in {w}?",
    "Count the letters of {w}.",
    "How long is the word {w}?",
    "Tell me the number of letters in {w}.",
    "{w} has how many letters?",
)


class Letters:
    """Questions about the letters of short words."""

    name = "letters"

    def draw(self, rng: random.Random) -> Instance:
        """A random question about a random word."""
        word = rng.choice(short_words())
        spelled = "-".join(word)
        wordings, expected, answer = rng.choice(
            (
                (SPELL, spelled, f"{word} is spelled {spelled}."),
                (SPELL, spelled, f"{word} is spelled {spelled}."),
                (FIRST, word[0], f"{word} begins with {word[0]}."),
                (LAST, word[-1], f"{word} ends with {word[-1]}."),
                (LENGTH, str(len(word)), f"{word} has {len(word)} letters."),
            )
        )
        wording = rng.choice(wordings)
        question = wording.replace("{w}", word)
        return Instance(self.name, wording, (word,), question, answer, expected)
