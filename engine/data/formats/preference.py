"""Rows that judge answers: a chosen and a rejected one, or one with a label; for DPO, not SFT."""

import re
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Conversation, Turn, UnusableRow, settled
from engine.data.formats import meaning
from engine.data.formats.chat import keys_of, turn, turns
from engine.data.formats.form import Record, words

_SPEAKER = re.compile(r"\n\n(Human|Assistant):[ ]?")
_ANSWERS = {"messages", "conversations", "completion", "response", "output", "answer"}
"""Columns with an answer that a label may judge."""
_ROLES = {"Human": "user", "Assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Pair:
    """What was asked, and a better and a worse answer to it."""

    prompt: Conversation
    chosen: Conversation
    rejected: Conversation


def is_preference(record: Record) -> bool:
    """Whether a row judges answers."""
    if "chosen" in record and "rejected" in record:
        return True
    return meaning.judgement(record) is not None and bool(_ANSWERS & record.keys())


def pair(record: Record) -> Pair:
    """The row's two answers and what they share before them. Raises `UnusableRow`."""
    prompt = _prompt(record)
    chosen, rejected = (
        settled([*prompt, *_side(record[side], bool(prompt))]) for side in ("chosen", "rejected")
    )
    if chosen == rejected:
        raise UnusableRow("chosen and rejected are the same")
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    if not same or chosen[same - 1].role == "assistant":
        raise UnusableRow("chosen and rejected answer different prompts")
    return Pair(chosen[:same], chosen[same:], rejected[same:])


def _prompt(record: Record) -> list[Turn]:
    if isinstance(record.get("conversations"), list):
        return turns(record, record["conversations"], "from", "value")
    prompt = next(
        (record[key] for key in ("prompt", "question", "messages") if key in record), None
    )
    if isinstance(prompt, list):
        return turns(record, prompt, "role", "content")
    return [Turn("user", words(prompt))] if prompt is not None else []


def _side(answer: Any, has_prompt: bool) -> list[Turn]:
    """One answer: text, a message, a list of messages, or a transcript of a whole talk."""
    if isinstance(answer, str):
        return [Turn("assistant", answer)] if has_prompt else transcript(answer)
    if isinstance(answer, dict):
        return [turn(answer, *keys_of(answer))]
    if isinstance(answer, list):
        return [item for message in answer for item in _side(message, has_prompt)]
    raise UnusableRow("content that is not text")


def transcript(text: str) -> list[Turn]:
    """Turns of a talk written with `Human:` and `Assistant:` after empty lines."""
    before, *pieces = _SPEAKER.split(text)
    if before.strip() or not pieces:
        raise UnusableRow("no transcript with Human: and Assistant:")
    said = zip(pieces[::2], pieces[1::2], strict=True)
    return [Turn(_ROLES[name], words.strip()) for name, words in said]
