"""A conversation as token ids and labels: what is trained on, token by token."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from engine.data.conversation import Conversation
from engine.data.encoding.rendering import BREAK, SILENT, WEIGHED, Rendered, Renderer, Template
from engine.data.encoding.tokenizer import Tokenizer, Vocabulary
from engine.data.encoding.words import WordEncoder
from engine.data.images.image_tokenizer import ImageTokenizer

IGNORED = -100
"""Label of a token without loss (torch.nn.CrossEntropyLoss's ignore_index)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One row as the model gets it; `labels[i]` is `ids[i]` or IGNORED."""

    ids: list[int]
    labels: list[int]
    is_truncated: bool
    images: tuple[str, ...] = ()
    """Files of the images among the tokens, in order."""
    weights: Sequence[float] = ()
    """What the loss of each token is multiplied by; empty where by 1."""

    @property
    def supervised(self) -> int:
        """Tokens that carry loss."""
        return len(self.labels) - self.labels.count(IGNORED)


class Encoded(NamedTuple):
    """A conversation as tokens."""

    ids: list[int]
    mask: list[int]
    """1 for a token that the assistant says, SILENT for one of an answer without loss, else 0."""
    lost_thoughts: int
    """Thoughts that the template leaves out."""
    weights: Sequence[float] = ()
    """What the loss of each token is multiplied by; empty where by 1."""


class Encoder:
    """Conversations to ids and a mask of the assistant's tokens, for one tokenizer and template.

    Words never become control ids: a control token's name in them is encoded as plain text.
    With `words`, which pay for many rows, most texts are encoded by way of these.
    """

    def __init__(
        self,
        tokenizer: Vocabulary,
        template: Template,
        sight: ImageTokenizer | None = None,
        words: WordEncoder | None = None,
    ) -> None:
        self.sight = sight
        self._words = words
        self._backend = tokenizer.backend_tokenizer
        added = self._backend.get_added_tokens_decoder()
        self._control = {token.content: number for number, token in added.items() if token.special}
        self._controls = frozenset(self._control.values())
        names = sorted(self._control, key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, names)))
        self._split = re.compile(f"({pattern.pattern})")
        variables = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        self._renderer = Renderer(template, variables, pattern, sight)
        self.turn_start: int = self._control[template.turn_start]

    def encode(self, conversations: list[Conversation]) -> list[Encoded]:
        """Ids and mask of each conversation, in order."""
        rendered = [self._renderer.render(turns) for turns in conversations]
        tokens = zip(conversations, rendered, self._ids_and_masks(rendered), strict=True)
        masked = [self._expanded(turns, *ids_and_mask) for turns, _, ids_and_mask in tokens]
        return [
            _weighed(ids, mask, one) if one.weights else Encoded(ids, mask, one.lost_thoughts)
            for (ids, mask), one in zip(masked, rendered, strict=True)
        ]

    def _ids_and_masks(self, rendered: list[Rendered]) -> Iterator[tuple[list[int], list[int]]]:
        by_words = [self._in_words(one) for one in rendered]
        ids_of_parts = iter(self._words.encode([p for p in by_words if p]) if self._words else ())
        plain = [
            one.text
            for one, parts in zip(rendered, by_words, strict=True)
            if not parts and BREAK not in one.text
        ]
        encodings = iter(self._backend.encode_batch(plain, add_special_tokens=False))
        for one, parts in zip(rendered, by_words, strict=True):
            if parts:
                yield _joined(next(ids_of_parts), one)
            elif BREAK in one.text:
                yield self._encode_broken(one)
            else:
                yield _masked(next(encodings), one)

    def _in_words(self, rendered: Rendered) -> list[list[str]] | None:
        """The words outside of spans and within them, in turn; None where it can't be so."""
        if self._words is None or BREAK in rendered.text:
            return None
        return self._words.parts(rendered.text, chain.from_iterable(rendered.spans))

    def prompt(self, turns: Conversation) -> list[int]:
        """Ids of what the model sees before it answers the last turn."""
        return self._expanded(turns, *self._encode_broken(self._renderer.prompt(turns)))[0]

    def is_control(self, token: int) -> bool:
        """Whether an id is that of a control token."""
        return token in self._controls

    def decode(self, ids: list[int]) -> str:
        """Ids as text, control tokens among it."""
        return str(self._backend.decode(ids, skip_special_tokens=False))

    def _expanded(
        self, turns: Conversation, ids: list[int], mask: list[int]
    ) -> tuple[list[int], list[int]]:
        images = [image for turn in turns for image in turn.images]
        return self.sight.expanded(ids, mask, images) if self.sight and images else (ids, mask)

    def _encode_broken(self, rendered: Rendered) -> tuple[list[int], list[int]]:
        """Piece by piece between the template's control tokens, as the tokenizer itself splits."""
        ids: list[int] = []
        mask: list[int] = []
        offset = 0
        for number, piece in enumerate(self._split.split(rendered.text)):
            if number % 2:
                ids.append(self._control[piece])
                mask.append(rendered.said_at(offset))
            else:
                positions = [
                    offset + position for position, letter in enumerate(piece) if letter != BREAK
                ]
                encoding = self._encode_plain(piece.replace(BREAK, ""))
                ids += encoding.ids
                mask += [rendered.said_at(positions[i]) for i, _ in encoding.offsets]
            offset += len(piece)
        return ids, mask

    def _encode_plain(self, text: str) -> Any:
        self._backend.encode_special_tokens = True
        try:
            return self._backend.encode(text, add_special_tokens=False)
        finally:
            self._backend.encode_special_tokens = False


def _masked(encoding: Any, rendered: Rendered) -> tuple[list[int], list[int]]:
    ids: list[int] = encoding.ids
    mask = [0] * len(ids)
    for number, (start, end) in enumerate(rendered.spans):
        first = encoding.char_to_token(start)
        after = len(ids) if end >= len(rendered.text) else encoding.char_to_token(end)
        mask[first:after] = [rendered.sign_of(number)] * (after - first)
    return ids, mask


def _joined(parts: list[list[int]], rendered: Rendered) -> tuple[list[int], list[int]]:
    """Ids and mask of parts that stand outside of spans and within them, in turn."""
    mask: list[int] = []
    for number, part in enumerate(parts):
        mask += [rendered.sign_of(number // 2) if number % 2 else 0] * len(part)
    return [*chain.from_iterable(parts)], mask


def _weighed(ids: list[int], mask: list[int], rendered: Rendered) -> Encoded:
    """Tokens of a conversation in which some answers carry less loss than others."""
    if not any(rendered.weights.values()):
        return Encoded(ids, mask, rendered.lost_thoughts)
    plain = [1 if mark >= WEIGHED else mark for mark in mask]
    return Encoded(ids, plain, rendered.lost_thoughts, rendered.weights_of(mask))


def tokenize(
    tokenizer: Tokenizer,
    template: Template,
    conversations: list[Conversation],
    loss_on: str,
    max_length: int,
) -> list[Tokens]:
    """Render, tokenise, mask, and cut at the end to `max_length` tokens."""
    encoder = Encoder(tokenizer, template)
    return [
        Tokens(
            ids[:max_length],
            labels(ids, mask, encoder.turn_start, loss_on)[:max_length],
            len(ids) > max_length,
        )
        for ids, mask, *_ in encoder.encode(conversations)
    ]


def labels(ids: list[int], assistant: Sequence[int], turn_start: int, loss_on: str) -> list[int]:
    """Labels of a whole row: of every assistant turn, of the last one, or of all tokens.

    The completion is all that follows the last inference prompt, results of tools among it.
    The first token never carries loss, since nothing predicts it.
    """
    if loss_on == "all":
        return [IGNORED, *_unless_silent(ids, assistant, 1)]
    first = 1
    if loss_on != "assistant":
        first = len(ids) - ids[::-1].index(turn_start)
    if loss_on == "completion":
        first = next((start for start, _ in _runs(bytes(assistant), first)), len(ids))
        return [IGNORED] * first + _unless_silent(ids, assistant, first)
    labelled = [IGNORED] * len(ids)
    for start, end in _runs(bytes(assistant), first):
        labelled[start:end] = ids[start:end]
    return labelled


def _unless_silent(ids: list[int], assistant: Sequence[int], first: int) -> list[int]:
    said = zip(ids[first:], assistant[first:], strict=True)
    return [IGNORED if mark == SILENT else token for token, mark in said]


def _runs(mask: bytes, first: int) -> Iterator[tuple[int, int]]:
    """Bounds of each unbroken run of ones from a place on."""
    while (start := mask.find(1, first)) >= 0:
        end = mask.find(0, start)
        first = len(mask) if end < 0 else end
        yield start, first
