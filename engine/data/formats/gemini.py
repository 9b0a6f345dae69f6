"""Rows as Google's own tuning of Gemini takes them: `contents` of parts, and an instruction."""

from collections.abc import Iterator
from typing import Any

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import chat, meaning
from engine.data.formats.form import Form, Record
from engine.guarded import Json

_COLUMNS = frozenset({"contents", "systemInstruction", "system_instruction", "tools"})
_KINDS = {
    "text": "text",
    "functionCall": "call", "function_call": "call",
    "functionResponse": "result", "function_response": "result",
    "inlineData": "image", "inline_data": "image", "fileData": "image", "file_data": "image",
}  # fmt: skip
"""What a part is by one of its keys; the API writes them in two ways."""
_DECLARATIONS = ("functionDeclarations", "function_declarations")


def read_contents(record: Record) -> list[Turn]:
    """Contents as turns, with the instruction before them and the functions that are declared."""
    return chat.turns({"tools": _functions(record)}, [*_messages(record)])


def _messages(record: Record) -> Iterator[Record]:
    """The same as messages that `chat` reads, each with the other keys of its content."""
    instruction = record.get("systemInstruction") or record.get("system_instruction")
    if instruction:
        content = instruction if isinstance(instruction, dict) else {"parts": instruction}
        yield from _of_content({**content, "role": "system"})
    if not isinstance(record["contents"], list):
        raise UnusableRow("contents that are no list")
    for content in record["contents"]:
        if not isinstance(content, dict):
            raise UnusableRow("a content that is no object")
        yield from _of_content(content)


def _of_content(content: Record) -> Iterator[Record]:
    """Results of functions, each a message of its own, and what is said beside them."""
    parts = [*_parts(content.get("parts"))]
    message = {key: value for key, value in content.items() if key not in ("role", "parts")}
    said: list[Record] = []
    calls: list[Record] = []
    for kind, value, part in parts:
        message |= {key: other for key, other in part.items() if key not in (*_KINDS, "thought")}
        if kind == "result":
            yield {"role": "tool", "name": value.get("name"), "content": value.get("response")}
        elif kind == "call":
            calls.append({"name": value.get("name"), "arguments": value.get("args")})
        elif kind == "image":
            said.append({"type": "image", "path": _file(value)})
        else:
            said.append({"type": "thinking" if part.get("thought") else "text", "text": value})
    if said or calls or not parts:
        role = content.get("role") or "user"
        yield {**message, "role": role, "content": said, "tool_calls": calls}


def _parts(parts: Json) -> Iterator[tuple[str, Any, Record]]:
    """What each part is, its value, and the part; a text may stand for a part or a list of one."""
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, str):
            part = {"text": part}
        if not isinstance(part, dict):
            raise UnusableRow("parts that are no list of objects")
        keys = [key for key, value in part.items() if key in _KINDS and value is not None]
        if not keys:
            name = str(next(iter(part), "empty"))[:30]
            raise UnusableRow(f"a part that is neither text, image nor call ({name})")
        for key in keys:
            yield _KINDS[key], part[key], part


def _file(value: Any) -> str:
    """A file that was put into the cache, or a place."""
    if isinstance(value, str):
        return value
    kind = str(value.get("mimeType") or value.get("mime_type") or "image")
    if not kind.startswith("image"):
        raise UnusableRow(f"a part that is neither text, image nor call ({kind[:30]})")
    return str(value.get("fileUri") or value.get("file_uri") or "")


def _tools(record: Record) -> list[Record]:
    tools = record.get("tools") or []
    return tools if isinstance(tools, list) else [tools]


def _functions(record: Record) -> list[Any]:
    lists = (tool[key] for tool in _tools(record) for key in _DECLARATIONS if tool.get(key))
    return [function for functions in lists for function in functions]


def _unread(record: Record) -> Iterator[str]:
    yield from meaning.unread(record, _COLUMNS)
    yield from chat.unread_keys([*_messages(record)])
    for tool in _tools(record):
        yield from meaning.unread(tool, frozenset(_DECLARATIONS), "a tool's ")


GEMINI = Form(
    lambda record: (
        isinstance(listed := record.get("contents"), list)
        and bool(listed)
        and isinstance(listed[0], dict)
        and "parts" in listed[0]
    ),
    read_contents,
    _COLUMNS,
    _unread,
)
