"""Tool calls written into the words of turns: Hermes' XML tags and ToolACE's Python."""

import ast
import contextlib
import json
import re
from dataclasses import replace
from typing import Any

from engine.data.conversation import ToolCall, Turn, UnusableRow
from engine.data.formats.tools import calls_of_text, declarations, json_or_python

_TOOLS = re.compile(r"<tools>\s*(\[.*\]|\{.*\})\s*</tools>", re.DOTALL)
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_PYTHON = re.compile(r"\s*\[\s*[A-Za-z_][\w.]*\(.*\)\s*\]\s*", re.DOTALL)
"""`[name(key="value"), ...]` and nothing else, as ToolACE writes calls."""
_LIST_OF_OBJECTS = re.compile(r"\[\s*\{")


def read_out(turns: list[Turn]) -> tuple[list[Turn], str]:
    """Turns with their calls and results read out of the words, and the functions declared there.

    Turns without such text come back as they are, with no declarations.
    """
    if any("<tool_call>" in turn.content for turn in turns if turn.role == "assistant"):
        return _hermes(turns)
    if any(_PYTHON.fullmatch(turn.content) for turn in turns if turn.role == "assistant"):
        return _toolace(turns)
    return turns, ""


def _hermes(turns: list[Turn]) -> tuple[list[Turn], str]:
    declared, read = "", []
    for turn in turns:
        if turn.role == "system" and (block := _TOOLS.search(turn.content)):
            declared = declarations(_json(block[1]))
            said = turn.content[: block.start()] + turn.content[block.end() :]
            turn = replace(turn, content=said.strip())
        elif turn.role == "assistant":
            calls = [c for text in _CALL.findall(turn.content) for c in calls_of_text(text)]
            said = _CALL.sub("", turn.content).strip() if calls else turn.content
            if said.startswith("<tool_call>"):
                raise UnusableRow("a tool call that is not closed (<tool_call>)")
            turn = replace(turn, content=said, calls=(*turn.calls, *calls))
        elif turn.role == "tool" and (results := _RESPONSE.findall(turn.content)):
            read += [_result(turn, text) for text in results]
            continue
        read.append(turn)
    return read, declared


def _result(turn: Turn, text: str) -> Turn:
    """The result as it stands, under the name that it gives."""
    try:
        value = json.loads(text)
    except ValueError:
        return replace(turn, content=text)
    name = value.get("name") if isinstance(value, dict) else None
    return replace(turn, content=text, name=name if isinstance(name, str) else turn.name)


def _toolace(turns: list[Turn]) -> tuple[list[Turn], str]:
    declared, read = "", []
    for turn in turns:
        if turn.role == "system" and (start := _LIST_OF_OBJECTS.search(turn.content)):
            listed, end = _leading_json(turn.content, start.start())
            declared = declarations(listed)
            turn = replace(turn, content=turn.content[: start.start()] + turn.content[end:])
        elif turn.role == "assistant" and _PYTHON.fullmatch(turn.content):
            turn = replace(turn, content="", calls=_python_calls(turn.content))
        elif turn.role == "tool":
            read += _results(turn)
            continue
        read.append(turn)
    return read, declared


def _results(turn: Turn) -> list[Turn]:
    """A turn for each of the results that ToolACE lists in one."""
    try:
        listed = json.loads(turn.content)
    except ValueError:
        return [turn]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return [turn]
    return [
        replace(
            turn,
            content=json.dumps(one.get("results", one), ensure_ascii=False),
            name=str(one.get("name") or turn.name),
        )
        for one in listed
    ]


def _python_calls(text: str) -> tuple[ToolCall, ...]:
    """Calls with keyword arguments of plain values. Raises `UnusableRow` for other Python."""
    try:
        listed = ast.parse(text.strip(), mode="eval").body
        nodes = listed.elts if isinstance(listed, ast.List) else []
        return tuple(_python_call(node) for node in nodes)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise UnusableRow("tool calls as Python text that can't be read") from None


def _python_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(one.arg is None for one in node.keywords):
        raise ValueError
    values = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}
    return ToolCall(ast.unparse(node.func), json.dumps(values, ensure_ascii=False))


def _leading_json(text: str, start: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        raise UnusableRow("functions in the system text that are not valid JSON") from None


def _json(text: str) -> Any:
    """A JSON value, or one object a line, as Hermes' set writes either."""
    lines = ",".join(line for line in text.splitlines() if line.strip())
    for written in (text, f"[{lines}]"):
        with contextlib.suppress(ValueError, RecursionError):
            return json_or_python(written)
    raise UnusableRow("functions between <tools> that are not valid JSON")
