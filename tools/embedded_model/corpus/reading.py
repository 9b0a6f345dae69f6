"""Short notes about made-up people and places, with a question the note itself answers."""

import random

from tools.embedded_model.corpus.instance import Instance
from tools.embedded_model.corpus.tables import read, relations


def made_up_name(rng: random.Random) -> str:
    """A pronounceable name of two or three syllables that belongs to nobody."""
    parts = read("syllables")
    starts, vowels, middles, ends = (
        parts[part] for part in ("starts", "vowels", "middles", "ends")
    )
    name = rng.choice(starts) + rng.choice(vowels) + rng.choice(middles) + rng.choice(vowels)
    if rng.random() < 0.3:
        name += rng.choice(middles) + rng.choice(vowels)
    return str(name + rng.choice(ends))


class Reading:
    """A note, and a question about it in another wording."""

    name = "reading"

    def draw(self, rng: random.Random) -> Instance:
        """A random note about two made-up names."""
        note = rng.choice(read("notes")["note"])
        names = {"a": made_up_name(rng), "b": made_up_name(rng)}
        wording = rng.choice(note["questions"])
        text = note["text"].format(**names) + " "
        if rng.random() < 0.3:
            text += f"{made_up_name(rng)} is {self.trade(rng)}. "
        return Instance(
            family=self.name,
            wording=wording,
            slots=(note["name"], names["a"], names["b"]),
            question=text + wording.format(**names),
            answer=note["answer"].format(**names),
            expected=names[note["asked"]],
        )

    def trade(self, rng: random.Random) -> str:
        """A profession, to say of a person the question is not about."""
        trades = next(relation for relation in relations("people") if relation.name == "trade")
        return rng.choice(trades.items)[1]
