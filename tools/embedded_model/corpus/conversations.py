"""Turns instances into conversations: lead-ins, system turns, several turns, and the mixture."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tools.embedded_model.corpus.arithmetic import Arithmetic, Units
from tools.embedded_model.corpus.instance import Family, Instance
from tools.embedded_model.corpus.letters import Letters
from tools.embedded_model.corpus.lookup import Lookup, Sayings
from tools.embedded_model.corpus.reading import Reading
from tools.embedded_model.corpus.repeating import Repeating
from tools.embedded_model.corpus.sorting import Sorting
from tools.embedded_model.corpus.tables import read

LOOKUPS = tuple(Lookup(table) for table in ("world", "people", "nature", "language", "everyday"))
MIXTURE: tuple[tuple[Family, float], ...] = (
    *zip(LOOKUPS, (10, 9, 8, 8, 7), strict=True),
    (Sayings("history", "fact"), 4),
    (Sayings("smalltalk", "talk"), 2),
    (Arithmetic(), 14),
    (Units(), 4),
    (Letters(), 11),
    (Sorting(), 9),
    (Reading(), 13),
    (Repeating(), 6),
)
FAMILIES = tuple(family for family, _ in MIXTURE)
WEIGHTS = tuple(weight for _, weight in MIXTURE)


@dataclass(frozen=True)
class Conversation:
    """An optional system turn and pairs of (user, model) words."""

    system: str | None
    turns: tuple[tuple[str, str], ...]


def trained_instance(rng: random.Random) -> Instance:
    """An instance of the mixture that is not held out."""
    family = rng.choices(FAMILIES, WEIGHTS)[0]
    while (instance := family.draw(rng)).unseen:
        pass
    return instance


def phrased(rng: random.Random, question: str) -> str:
    """The question, now and then with words before or after it or with careless typing."""
    frames = read("wordings")
    chance = rng.random()
    if chance < 0.12:
        return str(rng.choice(frames["before"])) + question
    if chance < 0.18:
        return question + str(rng.choice(frames["after"]))
    if chance < 0.22:
        return question.removesuffix("?").removesuffix(".")
    return question[:1].lower() + question[1:] if chance < 0.25 else question


def turns(rng: random.Random) -> list[Instance]:
    """The instances of one conversation: mostly one, else unrelated ones or a follow-up."""
    chance = rng.random()
    if chance < 0.80:
        return [trained_instance(rng)]
    if chance < 0.92:
        return [trained_instance(rng) for _ in range(rng.randint(2, 3))]
    pair = rng.choice(LOOKUPS).pair(rng)
    while pair[0].unseen or pair[1].unseen:
        pair = rng.choice(LOOKUPS).pair(rng)
    return list(pair)


def conversation(rng: random.Random) -> Conversation:
    """A random conversation of instances that are not held out."""
    instances = turns(rng)
    frames, chance = read("wordings"), rng.random()
    if chance < 0.05:
        replies = [instance.expected for instance in instances]
        system = rng.choice(frames["short_system"])
    else:
        replies = [instance.answer for instance in instances]
        system = rng.choice(frames["plain_system"]) if chance < 0.10 else None
    questions = [phrased(rng, instance.question) for instance in instances]
    return Conversation(system, tuple(zip(questions, replies, strict=True)))


def conversations(seed: int) -> Iterator[Conversation]:
    """Endless conversations, the same for the same seed."""
    rng = random.Random(seed)
    while True:
        yield conversation(rng)


def unseen_instances(family: Family, number: int, seed: int) -> list[Instance]:
    """Up to `number` different held-out instances of a family, the same for the same seed."""
    rng, instances = random.Random(seed), dict[Instance, None]()
    for _ in range(number * 400):
        if (instance := family.draw(rng)).unseen:
            instances[instance] = None
        if len(instances) == number:
            break
    return list(instances)
