"""Base and adapter side by side while a run goes on, and their exact-fact figures at its end."""

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.data.conversation import Conversation, Turn
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.prepare import Example, Prepared, read_examples
from engine.events import Sample, Warned
from engine.model.answers.generate import Cut, answer
from engine.model.protocols import AdaptedModel
from engine.recipe.schema import Recipe, Samples, Score
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.foothold import RunGone

_LOOKED_AT = 1000
"""Rows among which questions are looked for: a weight repeats rows, and some ask nothing."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of questions whose exact fact was answered; None where nothing was scored."""

    trained_exact: float | None = None
    heldout_exact: float | None = None
    base_exact: float | None = None
    general_kept: float | None = None
    general_known: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Asks one model with its adapter on and off."""

    model: AdaptedModel
    tokenizer: Tokenizer
    template: Template
    log: EventLog
    control: RunControl
    questions: tuple[Conversation, ...] = ()
    """Of the data; they are asked after the recipe's prompts."""

    def ask(self, prompts: list[Conversation], max_new_tokens: int, *, as_base: bool) -> list[str]:
        """Greedy answers of the base or of the adapter. Raises `Cut` where a stop is asked for."""
        return answer(
            self.model,
            self.tokenizer,
            self.template,
            prompts,
            max_new_tokens,
            as_base=as_base,
            is_cut=self._is_stopped,
        )

    def _is_stopped(self) -> bool:
        self.control.poll()
        return self.control.stopped_by is not None

    def sample(self, samples: Samples, step: int) -> None:
        """One event per prompt of the recipe, unless they fail or are cut short by a stop."""
        with self._harmless():
            self._sample(samples, step)

    def finish(self, recipe: Recipe, examples: Sequence[Example], step: int) -> Figures | None:
        """Samples and figures of a run's end; None where they failed or were cut short."""
        with self._harmless():
            self._sample(recipe.samples, step)
            return self.score(recipe.score, examples) if recipe.score else Figures()
        return None

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """Answers that fail are told, and must not cost what is trained."""
        try:
            yield
        except Cut:
            return
        except RunGone:
            raise
        except Exception as error:
            traceback.print_exc()
            fix = "Training is as it was without them; the log has the whole story"
            self.log.append(Warned(code="sampling_failed", message=str(error), fix=fix))

    def _sample(self, samples: Samples, step: int) -> None:
        prompts: list[Conversation] = [(Turn("user", prompt),) for prompt in samples.prompts]
        prompts += self.questions
        if not prompts:
            return
        bases = self.ask(prompts, samples.max_new_tokens, as_base=True)
        adapters = self.ask(prompts, samples.max_new_tokens, as_base=False)
        for turns, base, adapter in zip(prompts, bases, adapters, strict=True):
            prompt = turns[-1].content
            self.log.append(Sample(step=step, prompt=prompt, base=base, adapter=adapter))

    def score(self, score: Score, examples: Sequence[Example]) -> Figures:
        """Exact-fact shares over the trained rows that name a fact, and over the files of `score`.

        Rows with images are left out.

        A warning and no figures where the trained rows name none: then the held-out questions are
        not about them.
        """
        trained = [example for example in examples if _can_be_asked(example)]
        if not trained:
            self.log.append(_NOTHING_TO_SCORE)
            return Figures()
        heldout = _questions_of(score.heldout)
        general = _questions_of(score.general) if score.general else []
        rows = [*trained, *heldout, *general]
        prompts = [row.turns[:-1] for row in rows]
        adapters = self.ask(prompts, score.max_new_tokens, as_base=False)
        bases = self.ask(prompts, score.max_new_tokens, as_base=True)
        by_adapter, by_base = _are_right(adapters, rows), _are_right(bases, rows)
        split, end = len(trained), len(trained) + len(heldout)
        of_base = [
            is_right
            for is_right, is_bases in zip(by_adapter[end:], by_base[end:], strict=True)
            if is_bases
        ]
        return Figures(
            trained_exact=share(by_adapter[:split]),
            heldout_exact=share(by_adapter[split:end]),
            base_exact=share(by_base[:end]),
            general_kept=share(of_base),
            general_known=len(of_base) if general else None,
        )


def questions(prepared: Prepared, count: int) -> tuple[Conversation, ...]:
    """What so many rows ask before their last answer: rows held out, else those trained on.

    Each question comes once; rows with images or of bare text ask nothing.
    """
    examples = prepared.heldout or prepared.examples
    conversations: dict[Conversation, None] = {}
    for row in range(min(len(examples), _LOOKED_AT) if count else 0):
        turns = examples[row].turns[:-1]
        if turns and turns[-1].role == "user" and not any(turn.images for turn in turns):
            conversations[turns] = None
        if len(conversations) == count:
            break
    return tuple(conversations)


def _can_be_asked(example: Example) -> bool:
    """Whether a row names a fact; questions are asked in words alone."""
    return bool(example.fact) and not any(turn.images for turn in example.turns)


_NOTHING_TO_SCORE = Warned(
    code="not_scored",
    message="the rows trained on name no facts, so the recipe's score section was left out",
    fix='Give the rows a "fact" column, or leave the section out: --set score=none',
)


def contains_fact(answer: str, fact: str) -> bool:
    """Whether the fact stands in the answer as whole words, whatever the case."""
    words = rf"(?<!\w){re.escape(fact.casefold())}(?!\w)"
    return re.search(words, answer.casefold()) is not None


def _questions_of(file: str) -> list[Example]:
    return [example for example in read_examples(Path(file)) if _can_be_asked(example)]


def _are_right(answers: list[str], examples: Sequence[Example]) -> list[bool]:
    return [
        contains_fact(answer, example.fact or "")
        for answer, example in zip(answers, examples, strict=True)
    ]


def share(are_right: Sequence[bool]) -> float | None:
    """Share of right answers, from 0 to 1; None of no answer."""
    return sum(are_right) / len(are_right) if are_right else None
