"""What viewers ask of a preview, and what its engine answers."""

from collections import Counter
from typing import Any

from msgspec import Struct

from engine.problems import Problem, Refusal
from engine.recipe.schema import Recipe
from engine.run import wire
from engine.sessions.source_report import HeldoutReport, SourceReport


class Question(Struct, frozen=True, forbid_unknown_fields=True, tag_field="want", tag="preview"):
    """A recipe to be previewed, and which of its rows."""

    number: int
    recipe: Recipe
    rows: int = 0
    """How many; 0 takes one of each source, and three at least."""
    source: str = ""
    """Rows of this source only, by its name in reports."""
    first: int | None = None
    """Rows in a line from this one on; without it they are spread over the source."""


class Span(Struct, frozen=True):
    """Tokens in a line that are alike, as text."""

    text: str
    tokens: int
    is_control: bool = False
    """A control token of the template; one that only stands in the words of a row is none."""
    is_supervised: bool = False
    """Whether it carries loss."""
    is_different: bool = False
    """Whether the other side, the prompt or what is trained on, has something else here."""


class Row(Struct, frozen=True):
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

    weights: tuple[float, ...] = ()
    """What the loss of each token is multiplied by; empty where by 1."""

    @property
    def weighed(self) -> dict[float, int]:
        """Tokens whose loss is multiplied by a weight other than 1, by that."""
        pairs = zip(self.weights, self.labels, strict=False)
        return Counter(weight for weight, label in pairs if weight != 1 and label >= 0)

    @property
    def supervised(self) -> int:
        """Tokens that carry loss."""
        return sum(span.tokens for span in self.spans if span.is_supervised)

    @property
    def is_prompt_a_prefix(self) -> bool:
        """Whether the row begins, but for what was cut, with what the model sees at inference."""
        return not any(span.is_different for span in (*self.spans, *self.prompt))


class Answer(Struct, frozen=True, tag_field="kind", tag="answer"):
    """A preview."""

    number: int
    sources: tuple[SourceReport, ...]
    rows: tuple[Row, ...]
    max_length: int
    template_sha256: str
    template_difference: str = ""
    """How the model's own template (-) writes a talk otherwise; empty where it doesn't."""
    weights: str = ""
    """What was lost of the model's weights before training; empty where nothing is known of it."""
    heldout: HeldoutReport | None = None
    elapsed_s: float = 0.0


class Refused(Struct, frozen=True, tag_field="kind", tag="refused"):
    """What was asked for can't be previewed."""

    number: int
    where: str
    problems: tuple[Problem, ...]
    exit_code: int = 2

    def refusal(self) -> Refusal:
        """The same as it is raised."""
        return Refusal(self.where, list(self.problems), self.exit_code)


class Broken(Struct, frozen=True, tag_field="kind", tag="broken"):
    """The engine could not answer, by a fault that is no mistake in the recipe."""

    number: int
    error: str
    log: str
    """Path of its log; empty where none is left."""


Reply = Answer | Refused | Broken
PUBLISHED_SOURCE = (
    "name", "format", "files", "left_out", "asked", "taken", "dropped", "first_dropped", "noted",
    "first_noted", "unread", "harmless", "tokens", "truncated_share", "supervised_share",
)  # fmt: skip
PUBLISHED_ROW = ("source", "file", "line", "text", "input_ids", "labels", "truncated", "weights")


def check_source(recipe: Recipe, name: str) -> None:
    """Raise `Refusal` where the recipe has no source of that name; the empty name means all."""
    names = [source.label for source in recipe.data.sources]
    if name and name not in names:
        fix = f"Its sources: {', '.join(names)}"
        raise Refusal.of("--source", f"the recipe has no source {name!r}", fix)


def decode_question(line: bytes) -> Question | None:
    """The question on a line of control.jsonl, or None where there is none."""
    question: Question | None = wire.read_line(line, Question)
    return question


def published(answer: Answer) -> dict[str, Any]:
    """What --json prints; its keys are a contract with scripts."""
    record = wire.plain(answer)
    return {
        "sources": [{key: one[key] for key in PUBLISHED_SOURCE} for one in record["sources"]],
        "rows": [{key: row[key] for key in PUBLISHED_ROW} for row in record["rows"]],
        "template_sha256": answer.template_sha256,
        **({"weights": answer.weights} if answer.weights else {}),
        **({"heldout": record["heldout"]} if answer.heldout else {}),
    }
