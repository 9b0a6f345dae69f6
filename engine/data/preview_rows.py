"""Prepared rows as a preview shows them: sampled, in spans, beside the prompt at inference."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

import numpy as np

from engine.data.conversation import Conversation
from engine.data.encoding.rendering import Template
from engine.data.encoding.template import inference
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.encoding.tokens import IGNORED, Encoder, Tokens
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.prepare import Prepared
from engine.sessions.preview import Question, Row, Span, check_source

_LEAST_ROWS = 3
_COMPARED_TOKENS = 2000
"""Of longer parts that differ, all is marked: finding out what in them does takes too long."""


def sample(prepared: Prepared, question: Question) -> list[int]:
    """Which rows of the epoch are shown. Raises `Refusal` where no source has the name."""
    check_source(question.recipe, question.source)
    names = [one.name for one in prepared.sources]
    source_indexes = [i for i, name in enumerate(names) if question.source in ("", name)]
    owners, order = prepared.rows.column("source"), prepared.rows.order
    # A weight lets a row stand in an epoch several times.
    once = np.sort(np.unique(order, return_index=True)[1])
    own = [once[owners[once] == number] for number in source_indexes]
    if question.first is not None:
        last = question.first + (question.rows or _LEAST_ROWS)
        return [int(row) for row in np.concatenate(own)[question.first : last]]
    count = question.rows or max(_LEAST_ROWS, len(own))
    return [row for part, count in _shares(own, count) for row in _spread(part, count)]


def _shares(own: list[np.ndarray], count: int) -> list[tuple[np.ndarray, int]]:
    """How many rows of each source: as many of each, but of none more than it has."""
    counts = [0] * len(own)
    while count and (open_ones := [i for i, part in enumerate(own) if counts[i] < len(part)]):
        for number in open_ones[:count]:
            counts[number] += 1
        count -= len(open_ones[:count])
    return list(zip(own, counts, strict=True))


def _spread(own: np.ndarray, count: int) -> list[int]:
    return [int(own[round(position)]) for position in np.linspace(0, len(own) - 1, count)]


@dataclass(slots=True)
class PreviewRows:
    """Shows rows of one tokenizer and template."""

    encoder: Encoder
    inference: Encoder

    def row(self, prepared: Prepared, index: int) -> Row:
        """One row of the epoch."""
        tokens, example = prepared.rows[index], prepared.examples[index]
        file, _, line = example.where.rpartition(":")
        whole = self.encoder.encode([example.turns])[0].ids
        prompt, error = self._prompt(example.turns)
        left, right = differing(whole, prompt, self.encoder.turn_start)
        cut_at = _cut_at(tokens, whole, self.encoder.turn_start)
        marks = left[:cut_at] + [False] * (len(tokens.ids) - len(left[:cut_at]))
        supervised = [label != IGNORED for label in tokens.labels]
        return Row(
            source=prepared.sources[prepared.rows.cell(index, "source")].name,
            file=file,
            line=int(line),
            text=self.encoder.decode(tokens.ids),
            input_ids=tuple(tokens.ids),
            labels=tuple(tokens.labels),
            truncated=tokens.is_truncated,
            whole_tokens=len(whole),
            cut_at=cut_at,
            spans=self._spans(tokens.ids, supervised, marks, cut_at),
            prompt=self._spans(prompt, [False] * len(prompt), right, None),
            prompt_error=error,
            weights=tuple(tokens.weights),
        )

    def _prompt(self, turns: Conversation) -> tuple[list[int], str]:
        if turns[0].role == "text":
            return [], ""
        try:
            return self.inference.prompt(turns[:-1]), ""
        except Exception as error:
            # A template is the model's code: whatever it raises is what there is to be shown.
            return [], str(error) or type(error).__name__

    def _spans(
        self, ids: list[int], supervised: list[bool], marks: list[bool], cut_at: int | None
    ) -> tuple[Span, ...]:
        sight = self.encoder.sight
        soft = sight.image_token if sight else None

        def alike(position: int) -> tuple[bool, ...]:
            after_cut = cut_at is not None and position >= cut_at
            token = ids[position]
            is_control = self.encoder.is_control(token)
            return is_control, supervised[position], marks[position], after_cut, token == soft

        spans, images = [], 0
        for kind, group in groupby(range(len(ids)), alike):
            part = [ids[position] for position in group]
            images += kind[-1]
            text = f"[image {images}]" if kind[-1] else self.encoder.decode(part)
            spans.append(Span(text, len(part), *kind[:3]))
        return tuple(spans)


def excerpt(
    tokenizer: Tokenizer, train_template: Template, sight: ImageTokenizer | None = None
) -> PreviewRows:
    """What shows rows trained on by a template."""
    own = inference(tokenizer, train_template)
    return PreviewRows(Encoder(tokenizer, train_template, sight), Encoder(tokenizer, own, sight))


def _cut_at(tokens: Tokens, whole: list[int], turn_start: int) -> int | None:
    """Tokens before the first that was cut out; exchanges are taken out from a turn's start on."""
    if not tokens.is_truncated:
        return None
    pairs = zip(tokens.ids, whole, strict=False)
    same = next((i for i, (cut, all_of) in enumerate(pairs) if cut != all_of), len(tokens.ids))
    if same == len(tokens.ids):
        return same
    return same - tokens.ids[:same][::-1].index(turn_start) - 1


def differing(
    whole: list[int], prompt: list[int], turn_start: int
) -> tuple[list[bool], list[bool]]:
    """Which tokens of a row and of its prompt the other has not, up to where the answer begins.

    Both begin their last turn with the same token, which tells how far the row is compared.
    """
    end = len(prompt)
    if turn_start in whole and turn_start in prompt:
        end = len(whole) - whole[::-1].index(turn_start) + prompt[::-1].index(turn_start)
    compared = whole[: max(0, end)]
    left, right = [False] * len(whole), [False] * len(prompt)
    if not prompt or compared == prompt:
        return left, right
    start = _common(compared, prompt)
    tail = _common(compared[start:][::-1], prompt[start:][::-1])
    ours, theirs = compared[start : len(compared) - tail], prompt[start : len(prompt) - tail]
    is_long = max(len(ours), len(theirs)) > _COMPARED_TOKENS
    blocks = [] if is_long else SequenceMatcher(None, ours, theirs, False).get_matching_blocks()
    for marks, count, side in ((left, len(ours), 0), (right, len(theirs), 1)):
        same = {block[side] + k for block in blocks for k in range(block.size)}
        marks[start : start + count] = [position not in same for position in range(count)]
    return left, right


def _common(one: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
