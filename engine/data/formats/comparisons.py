"""Shapes in which published sets compare answers: what was asked, and which answer is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import UnusableRow
from engine.data.formats import meaning
from engine.data.formats.form import Record

ALIKE = "answers that are judged alike"
_NAMED = (
    ("chosen", "rejected"), ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"), ("response_j", "response_k"),
)  # fmt: skip
"""Columns of a better and a worse answer; the third pair is OpenAI's, the last StackExchange's."""
_NUMBERED = (
    ("response_0", "response_1"), ("response1", "response2"), ("response_a", "response_b"),
    ("answer_0", "answer_1"), ("conversation_a", "conversation_b"), ("human_ref_A", "human_ref_B"),
)  # fmt: skip
"""Columns of two answers of which another column says which is the better one."""
_FIRST_WINS = {"model_a": True, "a": True, "model_b": False, "b": False}
_TEXTS = ("response", "text", "answer", "completion", "content", "output", "generation")
_SCORES = ("overall_score", "score", "rating", "pm_score", "reward")
_LISTS = ("completions", "responses", "generations", "answers", "candidates")
_LISTS_OF_SCORES = ("scores", "ratings", "rating", "overall_scores", "rewards")


@dataclass(frozen=True, slots=True)
class Compared:
    """A row's better and worse answer, as they stand in it, and all that it says beside them."""

    prompt_record: Record
    better: Any
    worse: Any
    columns: frozenset[str]
    """Columns that were read so far."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One shape: `read` may raise `UnusableRow`, `fits` says whether a row has it."""

    fits: Callable[[Record], bool]
    read: Callable[[Record], Compared]


def _pair_of(record: Record, names: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    return next((pair for pair in names if record.keys() >= {*pair}), None)


def _without(record: Record, *names: str) -> Record:
    return {name: value for name, value in record.items() if name not in names}


def _read_named(record: Record) -> Compared:
    better, worse = _pair_of(record, _NAMED) or ("", "")
    prompt_record, columns = _without(record, better, worse), frozenset({better, worse})
    if isinstance(request := prompt_record.get("input"), dict):
        # OpenAI keeps messages and tools in an object of its own.
        prompt_record, columns = (
            {**_without(prompt_record, "input"), **request},
            columns | {"input"},
        )
    return Compared(prompt_record, record[better], record[worse], columns)


def _read_numbered(record: Record) -> Compared:
    first, second = _pair_of(record, _NUMBERED) or ("", "")
    judged = _judged(record, first, second)
    assert judged is not None
    columns, is_first = judged
    if is_first is None:
        raise UnusableRow(ALIKE)
    prompt_record = _without(record, first, second, *columns)
    if first == "human_ref_A":
        # SHP's post stands under `history`.
        prompt_record = {
            **_without(prompt_record, "history"),
            "prompt": prompt_record.get("history"),
        }
        columns |= {"history"}
    if isinstance(question := prompt_record.get("question"), dict):
        # WebGPT's question is an object with its text in it.
        prompt_record["question"] = question.get("full_text")
    answers = (record[first], record[second])
    better, worse = answers if is_first else answers[::-1]
    return Compared(prompt_record, better, worse, columns | {first, second})


def _judged(record: Record, first: str, second: str) -> tuple[frozenset[str], bool | None] | None:
    """Columns that say which of two is better, and whether the first is; None where alike."""
    for name in ("better_response_id", "safer_response_id"):
        if (number := record.get(name)) in (0, 1):
            return frozenset({name}), number == 0
    if first == "human_ref_A" and (label := meaning.verdict(record.get("labels"))) is not None:
        return frozenset({"labels"}), label
    if isinstance(winner := record.get("winner"), str):
        return frozenset({"winner"}), _FIRST_WINS.get(winner.strip().lower())
    if isinstance(preference := record.get("overall_preference"), int | float):
        # HelpSteer3: from -3, the first is much better, to 3.
        return frozenset({"overall_preference"}), preference < 0 if preference else None
    names = (first.replace("answer", "score"), second.replace("answer", "score"))
    scores = [_number(record.get(name)) for name in names]
    if names != (first, second) and scores[0] is not None and scores[1] is not None:
        return frozenset(names), None if scores[0] == scores[1] else scores[0] > scores[1]
    return None


def _is_numbered(record: Record) -> bool:
    pair = _pair_of(record, _NUMBERED)
    return pair is not None and _judged(record, *pair) is not None


def _scored(record: Record) -> tuple[frozenset[str], list[tuple[float, Any]]]:
    """Columns with answers and scores, and each answer with its own; empty where there are none.

    UltraFeedback lists objects, distilabel texts beside numbers. A rank counts from the best.
    """
    for name in _LISTS:
        listed = record.get(name)
        if not isinstance(listed, list) or len(listed) < 2:
            continue
        if all(isinstance(one, dict) for one in listed):
            scores = [_score(one) for one in listed]
            answers = [next((one[key] for key in _TEXTS if key in one), None) for one in listed]
            columns = {name}
        else:
            beside = next((n for n in _LISTS_OF_SCORES if isinstance(record.get(n), list)), "")
            scores = [_number(score) for score in record.get(beside, [])]
            answers, columns = listed, {name, beside}
        if len(scores) == len(answers) and any(score is not None for score in scores):
            pairs = zip(scores, answers, strict=True)
            return frozenset(columns), [(s, a) for s, a in pairs if s is not None and a is not None]
    return frozenset(), []


def _score(one: Record) -> float | None:
    score = next((_number(one[key]) for key in _SCORES if key in one), None)
    rank = _number(one.get("rank"))
    return -rank if score is None and rank is not None else score


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value == value else None


def _read_scored(record: Record) -> Compared:
    """The answers with the highest and the lowest score, the first of each."""
    columns, scored = _scored(record)
    scores = [score for score, _ in scored]
    if len({*scores}) < 2:
        raise UnusableRow(ALIKE)
    better = scored[scores.index(max(scores))][1]
    worse = scored[scores.index(min(scores))][1]
    return Compared(_without(record, *columns), better, worse, columns)


COMPARISONS: dict[str, Comparison] = {
    "chosen_rejected": Comparison(lambda row: _pair_of(row, _NAMED) is not None, _read_named),
    "two_answers": Comparison(_is_numbered, _read_numbered),
    "scored_answers": Comparison(lambda row: bool(_scored(row)[1]), _read_scored),
}
"""By name, in the order in which rows are tried on them."""


def comparison_of(record: Record) -> str | None:
    """The shape in which a row compares answers, or None."""
    return next((name for name, shape in COMPARISONS.items() if shape.fits(record)), None)


def better_column(record: Record) -> str:
    """The column that always holds the better answer; empty where a row has none."""
    pair = _pair_of(record, _NAMED)
    return pair[0] if pair else ""
