"""A conversation as token ids and labels: what is trained on, token by token."""

from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Conversation
from engine.data.template import Template, messages

IGNORED = -100
"""Label of a token without loss (torch.nn.CrossEntropyLoss's ignore_index)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One row as the model gets it; `labels[i]` is `ids[i]` or IGNORED."""

    ids: list[int]
    labels: list[int]
    is_truncated: bool

    @property
    def supervised(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORED for label in self.labels)


def tokenize(
    tokenizer: Any,
    template: Template,
    conversations: list[Conversation],
    loss_on: str,
    max_length: int,
) -> list[Tokens]:
    """Render, tokenise, mask, and cut at the end to `max_length` tokens."""
    encoded = tokenizer.apply_chat_template(
        [messages(turns) for turns in conversations],
        chat_template=template.text,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    turn_start = tokenizer.convert_tokens_to_ids(template.turn_start)
    rows = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    return [
        Tokens(
            ids[:max_length],
            labels(ids, mask, turn_start, loss_on)[:max_length],
            len(ids) > max_length,
        )
        for ids, mask in rows
    ]


def labels(ids: list[int], assistant: list[int], turn_start: int, loss_on: str) -> list[int]:
    """Labels of a whole row: of every assistant turn, of the last one, or of all tokens.

    The first token never carries loss, since nothing predicts it.
    """
    if loss_on == "all":
        return [IGNORED, *ids[1:]]
    first = 1
    if loss_on == "last":
        first = len(ids) - ids[::-1].index(turn_start)
    return [
        token if is_assistant and position >= first else IGNORED
        for position, (token, is_assistant) in enumerate(zip(ids, assistant, strict=True))
    ]
