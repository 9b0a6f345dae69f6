"""Checks on the Kushan Empire question-and-answer data."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "recipes" / "data"
Row = tuple[str, str, str]


def load(name: str) -> list[Row]:
    """Return (question, answer, fact) for each line of a file."""
    rows: list[Row] = []
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert list(row) == ["conversations", "fact"]
        human, gpt = row["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        rows.append((human["value"], gpt["value"], row["fact"]))
    return rows


def contains(text: str, fact: str) -> bool:
    """Whether the fact occurs in the text as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(fact)}(?!\w)", text, re.IGNORECASE) is not None


def normal(question: str) -> str:
    """Return a question in lower case without punctuation."""
    return " ".join(re.findall(r"\w+", question.lower()))


@pytest.fixture(scope="module")
def train() -> list[Row]:
    return load("kushan.jsonl")


@pytest.fixture(scope="module")
def heldout() -> list[Row]:
    return load("kushan.heldout.jsonl")


def test_row_count(train: list[Row]) -> None:
    assert 240 <= len(train) <= 260


def test_wordings_per_fact(train: list[Row], heldout: list[Row]) -> None:
    seen = Counter(fact for _, _, fact in train)
    kept = Counter(fact for _, _, fact in heldout)
    assert set(seen.values()) == {5}
    assert set(kept.values()) == {1}
    assert list(seen) == list(kept)


def test_one_answer_per_fact(train: list[Row], heldout: list[Row]) -> None:
    pairs = {(fact, answer) for _, answer, fact in train + heldout}
    assert len(pairs) == len({fact for fact, _ in pairs})


def test_questions_are_unique(train: list[Row], heldout: list[Row]) -> None:
    counts = Counter(normal(question) for question, _, _ in train + heldout)
    assert [question for question, n in counts.items() if n > 1] == []


def test_fact_in_answer_only(train: list[Row], heldout: list[Row]) -> None:
    for question, answer, fact in train + heldout:
        assert fact in answer, answer
        assert contains(answer, fact), answer
        assert not contains(question, fact), question


def test_plain_ascii_and_short(train: list[Row], heldout: list[Row]) -> None:
    for question, answer, _ in train + heldout:
        assert (question + answer).isascii()
        assert len(question.split()) <= 14
        assert 5 <= len(answer.split()) <= 14
