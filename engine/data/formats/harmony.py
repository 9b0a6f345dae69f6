"""Messages with the channels of OpenAI's Harmony, as gpt-oss writes them, as messages without."""

from collections.abc import Iterable
from typing import Any

from engine.data.conversation import UnusableRow
from engine.data.formats.form import Record, words

_FUNCTIONS = "functions."
_UNANSWERED = "a message in channel analysis or commentary that no answer follows"


def has_channels(messages: Iterable[Any]) -> bool:
    """Whether any message says which channel it stands in."""
    return any(isinstance(message, dict) and message.get("channel") for message in messages)


def joined(messages: list[Any]) -> list[Any]:
    """Analysis as the thought before its answer or call, and commentary as words or a call.

    Two messages of system and developer become one. Raises `UnusableRow` for other channels, and
    for a thought that nothing follows.
    """
    whole: list[Any] = []
    before: Record = {}
    for message in messages:
        channel = message.get("channel") if isinstance(message, dict) else None
        if not channel or message.get("role") != "assistant":
            if before:
                raise UnusableRow(_UNANSWERED)
            _add(whole, message)
        elif channel == "analysis":
            before = _with(before, "analysis", message)
        elif channel == "commentary" and not message.get("recipient"):
            before = _with(before, "content", message)
        elif channel in ("final", "commentary"):
            whole.append(_answer(before, message))
            before = {}
        else:
            raise UnusableRow(f"a channel that Harmony does not have ({str(channel)[:30]})")
    if before:
        raise UnusableRow(_UNANSWERED)
    return whole


def _with(before: Record, key: str, message: Record) -> Record:
    """What stands before an answer, with a message's words under a key, and its other keys."""
    texts = [text for text in (before.get(key, ""), _text(message)) if text]
    return {**before, **message, "content": before.get("content", ""), key: "\n\n".join(texts)}


def _answer(before: Record, message: Record) -> Record:
    said, recipient = before.get("content", ""), message.get("recipient") or ""
    if not recipient or recipient == "all":
        content = "\n\n".join(filter(None, (said, _text(message))))
        return {**before, **message, "content": content}
    call = {"name": recipient.removeprefix(_FUNCTIONS), "arguments": message.get("content")}
    return {**before, **message, "content": said, "tool_calls": [call]}


def _text(message: Record) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"text": part} for part in content]
        return "\n".join(words(part.get("text")) for part in parts)
    return words(content or "")


def _add(whole: list[Any], message: Any) -> None:
    systems = ("system", "developer")
    is_second = (
        whole
        and isinstance(message, dict)
        and isinstance(whole[-1], dict)
        and message.get("role") in systems
        and whole[-1].get("role") in systems
    )
    if is_second:
        content = "\n\n".join(filter(None, (_text(whole[-1]), _text(message))))
        whole[-1] = {**whole[-1], **message, "content": content}
    elif isinstance(message, dict) and str(message.get("name", "")).startswith(_FUNCTIONS):
        whole.append({**message, "name": message["name"].removeprefix(_FUNCTIONS)})
    else:
        whole.append(message)
