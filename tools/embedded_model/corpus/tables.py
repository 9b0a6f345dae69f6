"""Reads the hand-written tables: relations with their items, single facts, small talk, wordings."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

RELATION_TABLES = ("world", "people", "nature", "language", "everyday")
WRAPPED = ("noun", "person", "verb", "thing", "clause")
PLACEHOLDER = {"noun": "{np}", "person": "{np}", "verb": "{vp}", "thing": "{vp}", "clause": "{cl}"}


@dataclass(frozen=True)
class Relation:
    """Items that share one answer sentence, with every wording that asks for it."""

    name: str
    wordings: tuple[str, ...]
    answer: str
    items: tuple[tuple[str, str], ...]


@cache
def read(table: str) -> dict[str, Any]:
    """The table of that name, as parsed TOML."""
    path = files("tools.embedded_model.corpus") / "tables" / f"{table}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def wordings(entry: dict[str, Any]) -> tuple[str, ...]:
    """Every wording of a relation: its own questions and its phrases in all the general ones."""
    general = read("wordings")
    questions = list(entry.get("questions", []))
    for sort in WRAPPED:
        for phrase in entry.get(sort, []):
            questions += [
                frame.replace(PLACEHOLDER[sort], phrase).replace("{kind}", entry["kind"])
                for frame in general[sort]
            ]
    return tuple(dict.fromkeys(questions))


@cache
def relations(table: str) -> tuple[Relation, ...]:
    """The relations of a table."""
    return tuple(
        Relation(entry["name"], wordings(entry), entry["answer"], items(entry["items"]))
        for entry in read(table)["relation"]
    )


def items(block: str) -> tuple[tuple[str, str], ...]:
    """The `x | y` lines of a block as pairs."""
    pairs = (line.partition(" | ") for line in block.strip().splitlines())
    return tuple((left, right) for left, _, right in pairs)


@cache
def short_words() -> tuple[str, ...]:
    """The plain lower-case words of three to five letters among the items of the tables, sorted."""
    words = {
        word
        for table in RELATION_TABLES
        for relation in relations(table)
        for pair in relation.items
        for word in pair
        if word.isalpha() and word.islower() and word.isascii() and 3 <= len(word) <= 5
    }
    return tuple(sorted(words))
