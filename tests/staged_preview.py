"""A preview without its engine: fixed answers, given out as an engine gives them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec.structs import replace

from engine.recipe.schema import Recipe
from engine.sessions.preview import Answer, Reply, Row, Span
from engine.sessions.source_report import SourceReport, TokenLengths
from workbench.sessions.engine_session import Preview
from workbench.sessions.prestarted_preview import PrestartedPreview

START, END = Span("<|turn>", 1, is_control=True), Span("<turn|>", 1, True, True)
NUM_ROWS = 250
REST = ("kowiki", "persona")


def row(source: str, number: int, **changed: Any) -> Row:
    """A row of a talk: every third is cut, every fourth has a prompt that differs."""
    question = Span(f"user\nWhat is the capital of country {number}?", 9)
    answer = "The capital of country {} is a city.\t한국어 🌰" + " It is large." * (number % 9)
    spans = [START, question, END, Span("\n", 1), START, Span("model\n", 3)]
    spans[2] = replace(END, is_supervised=False)
    own = list(spans)
    if number % 4 == 3:
        own[6:6] = [Span("<|channel>thought\n<channel|>", 3, True, is_different=True)]
    spans += [Span(answer.format(number), 12, False, True), END, Span("\n", 1, False, True)]
    is_cut = number % 3 == 2
    tokens = sum(span.tokens for span in spans)
    ids = tuple(range(tokens))
    made = Row(
        source, f"data/{source}.jsonl", number + 1, "".join(span.text for span in spans), ids, ids,
        is_cut, tokens + 40 * is_cut, tokens if is_cut else None, tuple(spans), tuple(own),
    )  # fmt: skip
    return replace(made, **changed)


def source(name: str, taken: int = NUM_ROWS, **changed: Any) -> SourceReport:
    """What became of a source."""
    made = SourceReport(
        name, "messages", taken + 4, taken, taken,
        {"an empty answer": 3, "no assistant turn": 1},
        {"an empty answer": f"data/{name}.jsonl:17", "no assistant turn": f"data/{name}.jsonl:40"},
        {"control tokens in words": 2}, {"control tokens in words": f"data/{name}.jsonl:8"},
        tokens=TokenLengths(28, 140, 1_811), truncated_share=0.333, supervised_share=0.52,
        histogram=(
            (50, 120), (100, 60), (150, 31), (200, 20), (250, 0), (300, 9), (350, 4), (1_811, 6),
        ),
    )  # fmt: skip
    return replace(made, **changed)


ANSWER = Answer(1, (source("quickstart"), source("kowiki", 40)), (), 64, "6d0c9be4a1f2d37e" * 4)


@dataclass
class Staged:
    """Stands in for `Preview`; answers at the poll after a question, or when it is let to."""

    answer: Answer = ANSWER
    reply: Callable[[int, int], Reply] | None = None
    is_held: bool = False
    phase: str = "loading: embedded"
    is_alive: bool = True
    asked: list[tuple[int, int]] = field(default_factory=list)
    num_answered: int = 0
    num_closed: int = 0

    @property
    def is_waiting(self) -> bool:
        return self.num_answered < len(self.asked)

    def ask(self, recipe: Recipe, *, rows: int = 0, source: str = "", first: int = 0) -> int:
        assert isinstance(recipe, Recipe)
        self.asked.append((first, rows))
        return len(self.asked)

    def poll(self) -> Reply | None:
        if self.is_held or not self.is_waiting:
            return None
        self.num_answered = len(self.asked)
        return (self.reply or self._reply)(*self.asked[-1])

    def _reply(self, first: int, rows: int) -> Reply:
        every = [(s.name, number) for s in self.answer.sources for number in range(s.num_taken)]
        chosen = tuple(row(*one) for one in every[first : first + rows])
        return replace(self.answer, number=len(self.asked), rows=chosen)

    def close(self) -> None:
        self.num_closed += 1
        self.is_alive = False


def warm(staged: Staged) -> PrestartedPreview:
    """What the app holds, over a staged preview."""
    return PrestartedPreview(lambda: cast(Preview, staged))
