"""What viewers ask of a preview and what its engine answers: frozen data, and their JSON."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.problems import Problem, Refusal
from engine.recipe.schema import Recipe
from engine.sessions.source_report import SourceReport


@dataclass(frozen=True, slots=True)
class Question:
    """A recipe to be previewed, and which of its rows."""

    number: int
    recipe: Recipe
    rows: int = 0
    """How many; 0 takes one of each source, and three at least."""
    source: str = ""
    """Rows of this source only, by its name in reports."""
    first: int | None = None
    """Rows in a line from this one on; without it they are spread over the source."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens in a line that are alike, as text."""

    text: str
    tokens: int
    is_control: bool = False
    """A control token of the template; one that only stands in the words of a row is none."""
    is_supervised: bool = False
    """Whether it carries loss."""
    is_different: bool = False
    """Whether the other side, the prompt or what is trained on, has something else here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is trained on, beside the prompt the model would see instead of its answer."""

    source: str
    file: str
    line: int
    text: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    truncated: bool
    whole_tokens: int
    """Tokens before truncation."""
    cut_at: int | None
    """Tokens before the place where some were cut out; a span ends there."""
    spans: tuple[Span, ...]
    """The text in pieces."""
    prompt: tuple[Span, ...]
    """The inference prompt by the model's own template; empty for bare text."""
    prompt_error: str = ""
    """Why there is no prompt, where the model's own template fails on the row."""

    @property
    def supervised(self) -> int:
        """Tokens that carry loss."""
        return sum(span.tokens for span in self.spans if span.is_supervised)

    @property
    def is_prompt_a_prefix(self) -> bool:
        """Whether the row begins, but for what was cut, with what the model sees at inference."""
        return not any(span.is_different for span in (*self.spans, *self.prompt))


@dataclass(frozen=True, slots=True)
class Answer:
    """A preview."""

    number: int
    sources: tuple[SourceReport, ...]
    rows: tuple[Row, ...]
    max_length: int
    template_sha256: str
    template_difference: str = ""
    """How the model's own template (-) writes a talk otherwise; empty where it doesn't."""
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for can't be previewed."""

    number: int
    where: str
    problems: tuple[Problem, ...]
    exit_code: int = 2

    def refusal(self) -> Refusal:
        """The same as it is raised."""
        return Refusal(self.where, list(self.problems), self.exit_code)


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine could not answer, by a fault that is no mistake in the recipe."""

    number: int
    error: str
    log: str
    """Path of its log; empty where none is left."""


Reply = Answer | Refused | Broken
PUBLISHED_SOURCE = ("name", "format", "asked", "taken", "dropped", "tokens", "truncated_share",
                    "supervised_share")  # fmt: skip
PUBLISHED_ROW = ("source", "file", "line", "text", "input_ids", "labels", "truncated")


def check_source(recipe: Recipe, name: str) -> None:
    """Raise `Refusal` where the recipe has no source of that name; the empty name means all."""
    names = [source.label for source in recipe.data.sources]
    if name and name not in names:
        fix = f"Its sources: {', '.join(names)}"
        raise Refusal.of("--source", f"the recipe has no source {name!r}", fix)


def encode_question(question: Question) -> bytes:
    """One line for control.jsonl."""
    plain = {f.name: getattr(question, f.name) for f in dataclasses.fields(question)}
    plain["recipe"] = question.recipe.model_dump(mode="json")
    return json.dumps({"want": "preview", **plain}).encode() + b"\n"


def decode_question(line: bytes) -> Question | None:
    """The question on a line of control.jsonl, or None where there is none."""
    try:
        record = json.loads(line)
        if record.pop("want") != "preview":
            return None
        recipe = Recipe.model_validate_json(json.dumps(record.pop("recipe")))
        return Question(recipe=recipe, **record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def as_record(reply: Reply) -> dict[str, Any]:
    """A reply as plain data, with its kind."""
    record = dataclasses.asdict(reply)
    if isinstance(reply, Answer):
        record["sources"] = msgspec.to_builtins(reply.sources)
    return {"kind": type(reply).__name__.lower(), **record}


def from_record(record: dict[str, Any]) -> Reply:
    """The reply a record was made from."""
    kind = record.pop("kind")
    if kind == "refused":
        problems = tuple(Problem(**problem) for problem in record.pop("problems"))
        return Refused(problems=problems, **record)
    if kind == "broken":
        return Broken(**record)
    sources = msgspec.convert(record.pop("sources"), tuple[SourceReport, ...])
    return Answer(sources=sources, rows=tuple(map(_row, record.pop("rows"))), **record)


def published(answer: Answer) -> dict[str, Any]:
    """What --json prints; its keys are a contract with scripts."""
    record = as_record(answer)
    return {
        "sources": [{key: one[key] for key in PUBLISHED_SOURCE} for one in record["sources"]],
        "rows": [{key: row[key] for key in PUBLISHED_ROW} for row in record["rows"]],
        "template_sha256": answer.template_sha256,
    }


def _row(record: dict[str, Any]) -> Row:
    values: dict[str, Any] = {key: tuple(record.pop(key)) for key in ("input_ids", "labels")}
    for key in ("spans", "prompt"):
        values[key] = tuple(Span(**one) for one in record.pop(key))
    return Row(**record, **values)
