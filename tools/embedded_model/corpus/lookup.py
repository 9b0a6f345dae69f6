"""Questions answered from the tables: relations, single facts and small talk."""

import random
import re
from functools import cached_property
from itertools import accumulate

from tools.embedded_model.corpus.instance import Instance, sentence
from tools.embedded_model.corpus.tables import Relation, read, relations


def ask(family: str, relation: Relation, wording: str, item: tuple[str, str]) -> Instance:
    """The instance that asks about one item of a relation in one wording."""
    x, y = item
    answer = relation.answer.replace("{X}", sentence(x)).replace("{x}", x).replace("{y}", y)
    question = sentence(with_articles(wording.replace("{x}", x)))
    return Instance(
        family, wording, (relation.name, x), question, sentence(with_articles(answer)), y
    )


def with_articles(text: str) -> str:
    """The text with "a" made "an" before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


class Lookup:
    """The relations of one table; every item is drawn equally often."""

    def __init__(self, table: str) -> None:
        self.name = table

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """The relations drawn from."""
        return relations(self.name)

    @cached_property
    def weights(self) -> list[int]:
        """Running totals of the relations' sizes."""
        return list(accumulate(len(relation.items) for relation in self.relations))

    def draw(self, rng: random.Random) -> Instance:
        """A random item of a random relation in a random wording."""
        relation = rng.choices(self.relations, cum_weights=self.weights)[0]
        return ask(self.name, relation, rng.choice(relation.wordings), rng.choice(relation.items))

    def pair(self, rng: random.Random) -> tuple[Instance, Instance]:
        """Two questions about one relation, the second put as a follow-up: "And Italy?"."""
        relation = rng.choices(self.relations, cum_weights=self.weights)[0]
        wording = rng.choice(relation.wordings)
        first, second = rng.sample(relation.items, 2)
        follow_up = rng.choice(["And {x}?", "What about {x}?", "And for {x}?", "Now {x}."])
        return (
            ask(self.name, relation, wording, first),
            ask(self.name, relation, follow_up, second),
        )


class Sayings:
    """Questions with one fixed answer: single facts of history, or small talk."""

    def __init__(self, table: str, entry: str) -> None:
        self.name = table
        self.entry = entry

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Every question of the table."""
        return tuple(
            Instance(
                self.name, question, (), question, said["answer"],
                said.get("expected", said["answer"].rstrip(".!?")),
            )
            for said in read(self.name)[self.entry]
            for question in said["questions"]
        )  # fmt: skip

    def draw(self, rng: random.Random) -> Instance:
        """A random question of the table."""
        return rng.choice(self.instances)
