"""Tool calls written into the words of turns: Hermes' tags, Glaive's mark and ToolACE's Python."""

import ast
import contextlib
import json
import re
from dataclasses import replace
from typing import Any

from engine.data.conversation import Conversation, ToolCall, Turn, UnusableRow
from engine.data.formats.tool_instructions import without
from engine.data.formats.tools import calls_of_text, declarations, json_or_python

NOTED_INSTRUCTIONS = "words on how to write calls, left out since functions are declared"
_TOOLS = re.compile(r"<tools>\s*(\[.*\]|\{.*\})\s*</tools>", re.DOTALL)
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_PYTHON = re.compile(r"\s*\[\s*[A-Za-z_][\w./ -]*\(.*\)\s*\]\s*", re.DOTALL)
"""`[name(key="value"), ...]` and nothing else, as ToolACE writes calls."""
_JSON_NAMES = {"true": True, "false": False, "null": None}
_LIST_OF_OBJECTS = re.compile(r"\[\s*\{")
_LISTED = re.compile(r"functions in JSON format", re.IGNORECASE)
"""What ToolACE says before its list, also where no answer calls."""
_GLAIVE = "<functioncall>"
_FOLLOWING = re.compile(r"access to the following functions\b.*?\{", re.IGNORECASE | re.DOTALL)
_QUOTED_ARGUMENTS = re.compile(r'("arguments"\s*:\s*)\'(.*)\'(\s*\})', re.DOTALL)
"""Glaive writes arguments as JSON in single quotes."""


def read_out(turns: list[Turn]) -> list[Turn]:
    """Turns with their calls and results read out of the words, and the functions declared there.

    Functions that the system turn declares already go before these. Turns without such text come
    back as they are. Raises `UnusableRow` where a call or a declaration can't be read.
    """
    if not _may_call(turns):
        return turns
    systems = [turn for turn in turns if turn.role == "system"]
    system = "\n".join(turn.content for turn in systems)
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    is_declared = _TOOLS.search(system) or any(turn.tools for turn in systems)
    if _TOOLS.search(system) or any(_is_tagged(answer, bool(is_declared)) for answer in answers):
        return _hermes(turns)
    if any(_GLAIVE in answer for answer in answers) or _FOLLOWING.search(system):
        return _glaive(turns)
    has_functions = _LIST_OF_OBJECTS.search(system) or any(turn.tools for turn in systems)
    is_called = has_functions and any(map(_PYTHON.fullmatch, answers))
    return _toolace(turns) if is_called or _LISTED.search(system) else turns


def _may_call(turns: list[Turn]) -> bool:
    """Whether anything is called or declared in the words, told at a glance; mostly not."""
    for turn in turns:
        said = turn.content
        if (turn.role == "system" and (said or turn.tools)) or "<tool_call>" in said:
            return True
        if _GLAIVE in said:
            return True
    return False


def _is_tagged(answer: str, is_declared: bool) -> bool:
    """Whether an answer calls by Hermes' tags: within words of a talk without functions none do."""
    if "<tool_call>" not in answer:
        return False
    text = answer.strip()
    return is_declared or text.startswith("<tool_call>") or text.endswith("</tool_call>")


def without_instructions(turns: Conversation) -> Conversation:
    """The conversation without a published prompt's words on how calls are written as text.

    Gemma's template declares functions and writes calls in its own way.
    """
    if not any(turn.tools or turn.calls for turn in turns) or turns[0].role != "system":
        return turns
    said = without(turns[0].content)
    if said == turns[0].content:
        return turns
    system = replace(turns[0], content=said)
    return (system, *turns[1:]) if said or system.tools else turns[1:]


def with_tools(turns: list[Turn], declared: str) -> list[Turn]:
    """The turns with functions declared on the system's, where none are there."""
    if not declared or any(turn.tools for turn in turns):
        return turns
    if turns and turns[0].role == "system":
        return [replace(turns[0], tools=declared), *turns[1:]]
    return [Turn("system", "", tools=declared), *turns]


def _hermes(turns: list[Turn]) -> list[Turn]:
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
    return with_tools(read, declared)


def _result(turn: Turn, text: str) -> Turn:
    """The result as it stands, under the name that it gives."""
    try:
        value = json.loads(text)
    except ValueError:
        return replace(turn, content=text)
    name = value.get("name") if isinstance(value, dict) else None
    return replace(turn, content=text, name=name if isinstance(name, str) else turn.name)


def _glaive(turns: list[Turn]) -> list[Turn]:
    declared, read = "", list[Turn]()
    for turn in turns:
        if turn.role == "system" and _FOLLOWING.search(turn.content):
            said, functions = functions_after(turn.content)
            declared, turn = declarations(functions), replace(turn, content=said)
        elif turn.role == "assistant" and _GLAIVE in turn.content:
            said, call = turn.content.split(_GLAIVE, maxsplit=1)
            turn = replace(turn, content=said.strip(), calls=(*turn.calls, *_quoted_calls(call)))
        elif turn.role == "tool" and not turn.name and read and read[-1].calls:
            turn = replace(turn, name=read[-1].calls[0].name)
        read.append(turn)
    return with_tools(read, declared)


def _quoted_calls(text: str) -> tuple[ToolCall, ...]:
    if _QUOTED_ARGUMENTS.search(text):
        text = _QUOTED_ARGUMENTS.sub(lambda match: match[1] + match[2] + match[3], text)
    return calls_of_text(text.strip())


def functions_after(system: str) -> tuple[str, list[Any]]:
    """The words before the first function, and all functions that stand in a line after them."""
    declared: list[Any] = []
    start = at = system.find("{")
    while at >= 0:
        function, end = _leading_json(system, at)
        declared.append(function)
        at = system.find("{", end)
    return system[: start if start >= 0 else None].strip().removesuffix("[").strip(), declared


def _toolace(turns: list[Turn]) -> list[Turn]:
    declared, read = "", []
    for turn in turns:
        if turn.role == "system" and (start := _LIST_OF_OBJECTS.search(turn.content)):
            listed, end = _leading_json(turn.content, start.start())
            declared = declarations(listed)
            said = turn.content[: start.start()] + turn.content[end:].removeprefix(".")
            turn = replace(turn, content=said.strip())
        elif turn.role == "assistant" and _PYTHON.fullmatch(turn.content):
            names = _names(declared or turns[0].tools)
            turn = replace(turn, content="", calls=_python_calls(turn.content, names))
        elif turn.role == "tool":
            read += _results(turn)
            continue
        read.append(turn)
    return with_tools(read, declared)


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


def _names(declared: str) -> list[str]:
    """Names of declared functions that are none in Python, such as `Get Weather`."""
    names = [tool["function"]["name"] for tool in json.loads(declared or "[]")]
    return [name for name in names if not name.replace(".", "_").isidentifier()]


def _python_calls(text: str, names: list[str]) -> tuple[ToolCall, ...]:
    """Calls with keyword arguments of plain values. Raises `UnusableRow` for other Python."""
    for number, name in enumerate(names):
        text = text.replace(f"{name}(", f"__{number}__(")
    try:
        listed = ast.parse(text.strip(), mode="eval").body
        nodes = listed.elts if isinstance(listed, ast.List) else []
        calls = [_python_call(node) for node in nodes]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise UnusableRow("tool calls as Python text that can't be read") from None
    own = {f"__{number}__": name for number, name in enumerate(names)}
    return tuple(replace(call, name=own.get(call.name, call.name)) for call in calls)


def _python_call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or node.args or any(one.arg is None for one in node.keywords):
        raise ValueError
    values = {
        str(one.arg): ast.literal_eval(_JsonNames().visit(one.value)) for one in node.keywords
    }
    return ToolCall(ast.unparse(node.func), json.dumps(values, ensure_ascii=False))


class _JsonNames(ast.NodeTransformer):
    """Reads true, false and null, which some rows write as JSON does."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """A constant, where the name is one of these."""
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node


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
