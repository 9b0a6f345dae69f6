"""Turn a row of a known format into a conversation, or say why it can't be one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}
"""Role names found in published sets, and what they mean."""


class Unfit(Exception):
    """A row that can't be trained on; the message is the reason it is counted under."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks (system, user or assistant) and what."""

    role: str
    content: str


Conversation = tuple[Turn, ...]


def format_of(record: dict[str, Any]) -> str | None:
    """Name of the format that a record's columns show, or None."""
    return next((name for name, form in FORMATS.items() if form.fits(record)), None)


def conversation(record: dict[str, Any], format_name: str) -> Conversation:
    """The record as turns: an optional system turn, then user and assistant in alternation.

    Raises `Unfit` with the reason.
    """
    turns = tuple(turn for turn in FORMATS[format_name].read(record) if turn.content.strip())
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    if not any(turn.role == "assistant" for turn in spoken):
        raise Unfit("no answer in the row")
    for turn, expected in zip(spoken, ("user", "assistant") * len(spoken), strict=False):
        if turn.role != expected:
            raise Unfit(f"a turn of the {turn.role} where the {expected}'s belongs")
    if spoken[-1].role != "assistant":
        raise Unfit("the last turn is the user's")
    return turns


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is recognised and read."""

    fits: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any]], list[Turn]]


def _messages(record: dict[str, Any]) -> list[Turn]:
    return [_turn(message, "role", "content") for message in record["messages"]]


def _sharegpt(record: dict[str, Any]) -> list[Turn]:
    return [_turn(message, "from", "value") for message in record["conversations"]]


def _turn(message: Any, role_key: str, content_key: str) -> Turn:
    if not isinstance(message, dict):
        raise Unfit("a message that is no object")
    role = message.get(role_key)
    if role not in ROLES:
        raise Unfit(f"unknown role {role!r}")
    return Turn(ROLES[role], _words(message.get(content_key)))


def _words(content: Any) -> str:
    """Text of a message whose content is a string or a list of text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [
            part.get("text", part.get("value")) for part in content if part.get("type") == "text"
        ]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "\n".join(texts)
        raise Unfit("content with parts that are not text")
    raise Unfit("content that is not text")


def _asked(*question: str, answer: tuple[str, ...]) -> Format:
    """A format of one question, in one or more columns, and one answer."""

    def fits(record: dict[str, Any]) -> bool:
        return question[0] in record and any(name in record for name in answer)

    def read(record: dict[str, Any]) -> list[Turn]:
        asked = [_words(record.get(name) or "").strip() for name in question]
        replied = next(record[name] for name in answer if name in record)
        return [
            Turn("user", "\n\n".join(part for part in asked if part)),
            Turn("assistant", _words(replied)),
        ]

    return Format(fits, read)


FORMATS = {
    "messages": Format(lambda record: isinstance(record.get("messages"), list), _messages),
    "sharegpt": Format(lambda record: isinstance(record.get("conversations"), list), _sharegpt),
    "instruction": _asked("instruction", "input", answer=("output", "response")),
    "question": _asked("question", answer=("response", "answer")),
    "prompt_completion": _asked("prompt", answer=("completion",)),
}
