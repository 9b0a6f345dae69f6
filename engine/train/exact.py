"""Exact-fact scoring: does the answer contain the fact, word for word?"""

import re


def contains_fact(answer: str, fact: str) -> bool:
    """Whether the fact stands in the answer as whole words, whatever the case."""
    words = rf"(?<!\w){re.escape(fact.casefold())}(?!\w)"
    return re.search(words, answer.casefold()) is not None


def share(answers: list[str], facts: list[str]) -> float:
    """Share of answers that contain their fact, from 0 to 1."""
    hits = [contains_fact(answer, fact) for answer, fact in zip(answers, facts, strict=True)]
    return sum(hits) / len(hits)
