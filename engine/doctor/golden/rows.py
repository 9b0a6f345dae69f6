"""The rows that golden figures are taken on, and what the installed packages make of their text."""

from collections.abc import Mapping
from typing import Any, get_args

from engine.data.conversation import Conversation, Turn
from engine.data.encoding.template import template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.encoding.tokens import IGNORED, tokenize
from engine.doctor.specimens import DIALECTS, QUESTIONS, Specimens
from engine.recipe.schema import Data

LONG: Conversation = (
    Turn("system", "Answer in one line, and keep to the facts that are given."),
    Turn("user", "Tom has three apples, two pears and a fig. He eats one apple. What is left?"),
    Turn("assistant", "Two apples, two pears and a fig are left: five pieces of fruit."),
    Turn("user", "He buys as many pears again as he has.\nHow many pears is that, and why?"),
    Turn("assistant", "Four pears, since two and two make four."),
    Turn("user", "Sort all kinds by how many there are, and put the largest number in front."),
    Turn("assistant", "pears 4, apples 2, figs 1"),
    Turn("user", "Spell the last one backwards, and say it \N{CHESTNUT} once more."),
    Turn("assistant", "g i f. Once more: g i f \N{CHESTNUT}"),
)
"""Longer than any tiny model's window, with several answers, a line break and an unknown sign."""
TALKS: tuple[Conversation, ...] = (
    LONG,
    *((Turn("user", question), Turn("assistant", text)) for question, text in QUESTIONS),
)
NEW_LINE = "\n"
LOSS_ON: tuple[str, ...] = get_args(Data.model_fields["loss_on"].annotation)
_LENGTH = 512

Encoded = Mapping[str, Any]
"""Of one talk: its `ids`, and under each way to lay the loss the indices of what carries it."""


def encoded(specimens: Specimens) -> dict[str, list[Encoded]]:
    """The talks as tokens, by dialect."""
    return {str(dialect): _encoded(specimens, dialect) for dialect in DIALECTS}


def _encoded(specimens: Specimens, dialect: str) -> list[Encoded]:
    talks: list[dict[str, Any]] = [{} for _ in TALKS]
    for loss_on in LOSS_ON:
        rows = tokenize(
            specimens.tokenizer(dialect), template(dialect), list(TALKS), loss_on, _LENGTH
        )
        for talk, row in zip(talks, rows, strict=True):
            if talk.setdefault("ids", row.ids) != row.ids:
                raise RuntimeError(f"what carries loss changes the tokens of {dialect}")
            talk[loss_on] = _supervised(row.ids, row.labels)
    return list(talks)


def _supervised(ids: list[int], labels: list[int]) -> list[int]:
    """Where loss lies; a label that isn't its token is told as the negative of its place."""
    places = enumerate(zip(ids, labels, strict=True))
    return [
        place if token == label else -place for place, (token, label) in places if label != IGNORED
    ]


def difference(dialect: str, golden: Encoded, own: Encoded, tokenizer: Tokenizer) -> str:
    """What is wrong with a talk whose tokens or loss are not the golden ones."""
    difference = _lost(golden["ids"], own["ids"], tokenizer) or _loss_elsewhere(
        golden, own, tokenizer
    )
    if difference:
        return f"In {dialect} rows {difference}"
    pairs = zip(golden["ids"], own["ids"], strict=False)
    place = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
    if place is None:
        return f"In {dialect} a row has {len(own['ids'])} tokens instead of {len(golden['ids'])}"
    right, wrong = (tokenizer.decode(ids["ids"][place : place + 3]) for ids in (golden, own))
    return f"In {dialect} rows token {place + 1} begins {wrong!r} instead of {right!r}"


def _lost(golden: list[int], own: list[int], tokenizer: Tokenizer) -> str:
    """The one kind of control token by which two rows differ."""
    bos, new_line = tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids(NEW_LINE)
    end = tokenizer.convert_tokens_to_ids(tokenizer.eot_token)
    for token, name in ((bos, "the beginning of a sequence"), (end, "the end of a turn")):
        if [each for each in golden if each != token] == [each for each in own if each != token]:
            count, right = own.count(token), golden.count(token)
            return f"hold {name} {count} times instead of {right}" if count != right else ""
    after = [
        token for place, token in enumerate(golden)
        if not (token == new_line and place and golden[place - 1] == end)
    ]  # fmt: skip
    return "lack the line break after the end of a turn" if after == own else ""


def _loss_elsewhere(golden: Encoded, own: Encoded, tokenizer: Tokenizer) -> str:
    """What carries loss, or doesn't, though the tokens are right."""
    if golden["ids"] != own["ids"]:
        return ""
    loss_on = next(name for name in LOSS_ON if golden[name] != own[name])
    right, wrong = golden[loss_on], own[loss_on]
    if any(place < 0 for place in wrong):
        return (
            "have labels that are not their tokens: labels are shifted before the loss shifts them"
        )
    lacks, adds = ([place for place in left if place not in right] for left, right in
                   ((right, wrong), (wrong, right)))  # fmt: skip
    texts = [repr(tokenizer.decode([golden["ids"][place]])) for place in (lacks or adds)[:3]]
    verb = "carry no loss on" if lacks else "carry loss on"
    return f"{verb} {', '.join(dict.fromkeys(texts))} where loss lies on {loss_on!r}"
