"""Rows that hold a list of messages: `messages`, and `sharegpt` with from and value."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engine.data.conversation import IMAGE, ROLES, Turn, UnusableRow
from engine.data.formats import harmony, meaning, tool_text
from engine.data.formats.form import Form, Record, words
from engine.data.formats.tools import calls, calls_of_text, declarations
from engine.guarded import Json

_TEXT = ("text", "input_text", "output_text")
_IMAGE = ("image", "image_url")
_THOUGHT_TYPES = ("thinking", "reasoning")
_DIFFER = "image marks and image files differ in number"
_IMAGE_KEYS = ("image", "image_url", "url", "path", "value")
ROW_COLUMNS = frozenset({"system", "tools", "functions", "images", "image"})
"""Columns of a row with messages that are read beside these."""
ASKED_LOSS = f"{meaning.MESSAGE}weight, where others than the assistant speak"
"""What of weights is not read: only what the assistant says ever carries loss."""
_LEAST_KEYS = 2
"""Who speaks, and what."""
_MESSAGE_KEYS = frozenset({
    "role", "content", "from", "value", "tool_calls", "function_call", "tool_call_id", "name",
    "tool_responses", "channel", "recipient", *meaning.THOUGHTS, *meaning.LOSS_WEIGHTS,
})  # fmt: skip


def turns(
    record: Record, messages: Any, role: str = "role", content: str = "content"
) -> list[Turn]:
    """A list of messages as turns, the row's system text, tools and images with them."""
    if not isinstance(messages, list):
        raise UnusableRow("messages that are no list")
    messages = harmony.joined(messages) if harmony.has_channels(messages) else messages
    read = _named(messages, [turn(one, *_own_keys(one, role, content)) for one in messages])
    read = _with_images(read, record.get("images") or record.get("image"))
    if any(one.images and one.content.count(IMAGE) != len(one.images) for one in read):
        raise UnusableRow(_DIFFER)
    system = system_text(record.get("system"))
    if system.strip() and not (read and read[0].role == "system"):
        read.insert(0, Turn("system", system))
    declared = declarations(meaning.as_json(record.get("tools") or record.get("functions")))
    return tool_text.with_tools(read, declared)


def system_text(value: Any) -> str:
    """A column's words for the system, which may be parts. Raises `UnusableRow` for others."""
    if meaning.is_empty(value):
        return ""
    return _content(value, is_optional=False)[0]


def _own_keys(message: Any, role: str, content: str) -> tuple[str, str]:
    """Role and words as a format calls them, or as the message itself does."""
    is_other = isinstance(message, dict) and role not in message
    return keys_of(message) if is_other else (role, content)


def unread_keys(messages: Any) -> Iterator[str]:
    """Keys of messages that say something and are not read, each once."""
    with_more = [m for m in messages if isinstance(m, dict) and len(m) > _LEAST_KEYS]
    names = (meaning.unread(message, _MESSAGE_KEYS, meaning.MESSAGE) for message in with_more)
    yield from dict.fromkeys(itertools.chain.from_iterable(names))
    if any(_asks_for_loss(message) for message in with_more):
        yield ASKED_LOSS
    if any(message.get("name") and _kind(message) != "tool" for message in with_more):
        yield f"{meaning.MESSAGE}name"


def _asks_for_loss(message: dict[str, Any]) -> bool:
    """Whether words that the assistant doesn't say are to be trained on."""
    has_weight = not message.keys().isdisjoint(meaning.LOSS_WEIGHTS)
    is_other = has_weight and _kind(message) in ("system", "user", "tool")
    return is_other and meaning.asks_for_loss(message)


def _kind(message: dict[str, Any]) -> str | None:
    role = message.get(keys_of(message)[0])
    return ROLES.get(role.strip().lower()) if isinstance(role, str) else None


def turn(message: Json, role: str = "role", content: str = "content") -> Turn:
    """One message as a turn."""
    if not isinstance(message, dict):
        raise UnusableRow("a message that is no object")
    name = message.get(role)
    kind = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if kind is None:
        raise UnusableRow(f"unknown role {str(name)[:30]!r}")
    if kind == "call":
        return Turn("assistant", "", calls=calls_of_text(words(message.get(content))))
    said = message.get(content)
    if len(message) == _LEAST_KEYS and isinstance(said, str):
        return Turn(kind, said)
    if message.get("tool_responses"):
        raise UnusableRow("tool responses within the message of their call")
    called = calls(meaning.as_json(message.get("tool_calls")))
    if not called and not meaning.is_empty(message.get("function_call")):
        called = calls([meaning.as_json(message["function_call"])])
    message, parts = _thoughts_apart(message, message.get(content))
    said, images = _content(parts, is_optional=bool(called) or kind == "tool")
    weight = meaning.weight(message) if kind == "assistant" else 1.0
    return Turn(kind, said, meaning.thought(message), called, images=images, weight=weight)


def _thoughts_apart(message: dict[str, Any], content: Any) -> tuple[dict[str, Any], Any]:
    """A message whose content lists parts, with those that are thoughts under a key of theirs."""
    if not isinstance(content, list):
        return message, content
    thoughts = [part for part in content if _type_of(part) in _THOUGHT_TYPES]
    if not thoughts:
        return message, content
    texts = [words(part.get(_type_of(part), part.get("text"))) for part in thoughts]
    rest = [part for part in content if part not in thoughts]
    return {**message, "thinking": "\n".join(texts)}, rest


def _type_of(part: Json) -> Any:
    return part.get("type") if isinstance(part, dict) else None


def silent(turn: Turn) -> Turn:
    """The same turn, without loss where the assistant says it."""
    return replace(turn, weight=0.0) if turn.role == "assistant" else turn


def keys_of(message: dict[str, Any]) -> tuple[str, str]:
    """What role and words of a message are called."""
    return ("from", "value") if "from" in message else ("role", "content")


def is_answer(message: Json) -> bool:
    """Whether a message is the assistant's, its calls included."""
    role = message.get(keys_of(message)[0]) if isinstance(message, dict) else None
    return isinstance(role, str) and ROLES.get(role.strip().lower()) in ("assistant", "call")


def _named(messages: list[dict[str, Any]], read: list[Turn]) -> list[Turn]:
    """Tool turns with their function's name: by the call's id, by its own, or by their order."""
    if not any(one.calls or one.role == "tool" for one in read):
        return read
    by_id: dict[str, str] = {}
    order: list[str] = []
    named = []
    for message, one in zip(messages, read, strict=True):
        if one.calls:
            listed = meaning.as_json(message.get("tool_calls")) or [{}] * len(one.calls)
            by_id |= {str(g.get("id")): c.name for g, c in zip(listed, one.calls, strict=True)}
            order = [call.name for call in one.calls]
        if one.role == "tool":
            next_name = order.pop(0) if order else ""
            own = by_id.get(str(message.get("tool_call_id"))) if "tool_call_id" in message else None
            name = own or message.get("name") or next_name
            if not isinstance(name, str):
                raise UnusableRow("a result of a function whose name is no text")
            one = replace(one, name=name)
        named.append(one)
    return named


def _content(content: Json, is_optional: bool) -> tuple[str, tuple[str, ...]]:
    if isinstance(content, list):
        return _parts(content)
    if is_optional and not isinstance(content, str):
        return "" if content is None else json.dumps(content, ensure_ascii=False), ()
    return words(content), ()


def _parts(parts: list[Any]) -> tuple[str, tuple[str, ...]]:
    """Text parts in lines; an image leaves its mark in the text."""
    said, images = [], []
    for part in parts:
        kind = _type_of(part)
        if kind in _TEXT or (isinstance(part, dict) and part.keys() == {"text"}):
            said.append(words(part.get("text", part.get("value"))))
        elif kind in _IMAGE:
            said.append(IMAGE)
            images.append(_image_file(part))
        else:
            name = f" ({kind})" if isinstance(kind, str) else ""
            raise UnusableRow(f"content with parts that are neither text nor image{name[:30]}")
    return "\n".join(said), tuple(images)


def _image_file(part: dict[str, Any]) -> str:
    file = next((part[key] for key in _IMAGE_KEYS if key in part), "")
    file = file.get("url", "") if isinstance(file, dict) else file
    return file if isinstance(file, str) else ""


def _with_images(read: list[Turn], listed: Any) -> list[Turn]:
    """The row's list of images dealt out to the marks in its turns."""
    if not listed:
        return read
    files = [listed] if isinstance(listed, str) else list(listed)
    marks = sum(turn.content.count(IMAGE) for turn in read)
    if not all(isinstance(file, str) for file in files):
        raise UnusableRow("images that are no names of files")
    if marks != len(files):
        raise UnusableRow(_DIFFER)
    remaining = iter(files)
    return [
        replace(t, images=tuple(next(remaining) for _ in range(t.content.count(IMAGE))))
        for t in read
    ]


def _holds_objects(messages: Json) -> bool:
    """Whether it is a list of messages; LIMA lists what is said alone."""
    return isinstance(messages, list) and not (messages and isinstance(messages[0], str))


def _of_messages(column: str, role: str, content: str) -> Form:
    columns = ROW_COLUMNS | {column}
    return Form(
        lambda record: _holds_objects(record.get(column)),
        lambda record: turns(record, record[column], role, content),
        columns,
        lambda record: [*meaning.unread(record, columns), *unread_keys(record[column])],
    )


MESSAGES = _of_messages("messages", "role", "content")
SHAREGPT = _of_messages("conversations", "from", "value")
