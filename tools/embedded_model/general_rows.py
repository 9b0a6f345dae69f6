"""Writes what quickstart keeps its model's general answers with, and what it asks for them.

Rows to be trained on beside the new facts are questions that the base answers rightly, with the
answers that it gives; the questions asked at the end are instances that neither training has seen.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.paths import EMBEDDED_WEIGHTS
from tools.embedded_model.corpus.conversations import FAMILIES, unseen_instances
from tools.embedded_model.corpus.instance import Family, Instance
from tools.embedded_model.measure import read, replies

FOLDER = Path(__file__).parents[2] / "recipes/data"
ROWS = 2000
ASKED_PER_FAMILY = 10
SEED = 3
SHARES = {
    "world": 6, "people": 6, "nature": 5, "language": 5, "everyday": 5, "history": 6,
    "smalltalk": 5, "arithmetic": 28, "units": 4, "letters": 9, "sorting": 10, "reading": 5,
    "repeating": 12,
}  # fmt: skip
"""Of the rows, by family: more of what is forgotten first, less of what is long."""


def drawn(family: Family, count: int, rng: random.Random) -> list[Instance]:
    """At most so many instances that are not held out, each question once."""
    instances: dict[str, Instance] = {}
    for _ in range(20 * count):
        instance = family.draw(rng)
        if not instance.unseen:
            instances.setdefault(instance.question, instance)
        if len(instances) == count:
            break
    return [*instances.values()]


def row(question: str, answer: str, **columns: str) -> dict[str, Any]:
    """A conversation of one question in the columns of ShareGPT."""
    turns = (("human", question), ("gpt", answer))
    return {"conversations": [{"from": who, "value": text} for who, text in turns], **columns}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON Lines."""
    path.write_text("".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in rows))


def main() -> None:
    """Writes both files."""
    rng = random.Random(SEED)
    total = sum(SHARES.values())
    # A fifth more, as the base answers some of them wrongly.
    candidates = [
        instance
        for family in FAMILIES
        for instance in drawn(family, round(1.2 * ROWS * SHARES[family.name] / total), rng)
    ]
    answers = replies(*read(EMBEDDED_WEIGHTS), [each.question for each in candidates])
    rows = [
        row(instance.question, answer)
        for instance, answer in zip(candidates, answers, strict=True)
        if instance.answered_by(answer)
    ]
    rng.shuffle(rows)
    write(FOLDER / "general.jsonl", rows[:ROWS])
    instances = [
        each for family in FAMILIES for each in unseen_instances(family, ASKED_PER_FAMILY, SEED)
    ]
    write(
        FOLDER / "general.heldout.jsonl",
        (row(each.question, each.answer, fact=each.expected) for each in instances),
    )


if __name__ == "__main__":
    main()
