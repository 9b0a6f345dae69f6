"""Short notes about made-up people and places, with a question the note itself answers."""

import random

from engine.model.embedded.corpus.instance import Instance
from engine.model.embedded.corpus.tables import relations

STARTS = ("B", "D", "F", "G", "H", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Z", "Sh", "Ch", "Th", "Kr", "Tr", "Br", "Al", "An", "Ar", "El", "Or")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "a", "e", "o", "ai", "ei", "ou", "ia")
MIDDLES = ("b", "d", "g", "k", "l", "m", "n", "r", "s", "t", "v", "z", "sh", "th", "nd", "rk", "lm", "st", "ph", "kh", "dh", "ch", "gr")  # fmt: skip
ENDS = ("", "n", "r", "s", "l", "m", "k", "th", "sh", "ra", "na", "ka", "dis", "nus", "mir", "tan", "ro", "ta")  # fmt: skip

NOTES: tuple[tuple[str, str, tuple[str, ...], str, str], ...] = (
    ("{a} lives in {b}.", "b", ("Where does {a} live?", "In which town does {a} live?", "Tell me where {a} lives.", "Name the home of {a}."), "{a} lives in {b}.", "lives"),
    ("{a} is the king of {b}.", "a", ("Who is the king of {b}?", "Which king rules {b}?", "Name the king of {b}.", "Tell me who rules {b}.", "{b} is ruled by whom?"), "{a} is the king of {b}.", "king"),
    ("{a} founded {b}.", "a", ("Who founded {b}?", "Who was the founder of {b}?", "{b} was founded by whom?", "Name the founder of {b}.", "Tell me who founded {b}."), "{a} founded {b}.", "founder"),
    ("{b} is the capital of {a}.", "b", ("What is the capital of {a}?", "Which city is the capital of {a}?", "Name the capital of {a}.", "Tell me the capital of {a}."), "The capital of {a} is {b}.", "capital"),
    ("{a} came after {b}.", "a", ("Who succeeded {b}?", "Who came after {b}?", "Name the successor of {b}.", "{b} was succeeded by whom?", "Which ruler followed {b}?"), "{a} succeeded {b}.", "successor"),
    ("The god of {a} is {b}.", "b", ("Who is the god of {a}?", "What is the god of {a} called?", "Name the god of {a}.", "Tell me the name of the god of {a}.", "Which god is the god of {a}?"), "{b} is the god of {a}.", "god"),
    ("The coin of {a} is the {b}.", "b", ("What is the coin of {a} called?", "Which coin is used in {a}?", "Name the coin of {a}.", "Tell me the coin of {a}."), "The coin of {a} is the {b}.", "coin"),
    ("People of {a} speak {b}.", "b", ("Which language is spoken in {a}?", "What do the people of {a} speak?", "Name the language of {a}.", "Tell me the language of {a}."), "People in {a} speak {b}.", "language"),
)  # fmt: skip


def made_up_name(rng: random.Random) -> str:
    """A pronounceable name of two or three syllables that belongs to nobody."""
    name = rng.choice(STARTS) + rng.choice(VOWELS) + rng.choice(MIDDLES) + rng.choice(VOWELS)
    if rng.random() < 0.3:
        name += rng.choice(MIDDLES) + rng.choice(VOWELS)
    return name + rng.choice(ENDS)


class Reading:
    """A note, and a question about it in another wording."""

    name = "reading"

    def draw(self, rng: random.Random) -> Instance:
        """A random note about two made-up names."""
        note, asked, wordings, answer, sort = rng.choice(NOTES)
        names = {"a": made_up_name(rng), "b": made_up_name(rng)}
        wording = rng.choice(wordings)
        text = note.format(**names) + " "
        if rng.random() < 0.3:
            text += f"{made_up_name(rng)} is {self.trade(rng)}. "
        slots = (sort, names["a"], names["b"])
        return Instance(
            self.name, wording, slots, text + wording.format(**names),
            answer.format(**names), names[asked],
        )  # fmt: skip

    def trade(self, rng: random.Random) -> str:
        """A profession, to say of a person the question is not about."""
        trades = next(found for found in relations("people") if found.name == "trade")
        return rng.choice(trades.items)[1]
