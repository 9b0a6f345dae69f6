"""Sets of function calls with columns of their own: Salesforce's xLAM and Glaive's second."""

import json
import re
from typing import Any

from engine.data.conversation import ToolCall, Turn, UnusableRow
from engine.data.formats.form import Form, Record, words
from engine.data.formats.meaning import as_json
from engine.data.formats.tools import calls, calls_of_text, declarations

_SPEAKER = re.compile(r"\s*(USER|ASSISTANT|FUNCTION RESPONSE):\s*")
_END = "<|endoftext|>"
_CALLED = re.compile(r"<functioncall>\s*", re.DOTALL)
_QUOTED_ARGUMENTS = re.compile(r'("arguments"\s*:\s*)\'(.*)\'(\s*\})', re.DOTALL)
"""Glaive writes arguments as JSON in single quotes."""


def read_xlam(record: Record) -> list[Turn]:
    """A question, the functions at hand and the calls that answer it."""
    answers = as_json(record["answers"])
    if not isinstance(answers, list) or not answers:
        raise UnusableRow("answers that are no list of calls")
    tools = as_json(record["tools"])
    listed = tools if isinstance(tools, list) else [tools]
    return [
        Turn("system", "", tools=declarations([_with_schema(tool) for tool in listed])),
        Turn("user", words(record["query"])),
        Turn("assistant", "", calls=calls(answers)),
    ]


def _with_schema(tool: Any) -> Any:
    """xLAM lists parameters by name where JSON Schema has them under properties."""
    parameters = tool.get("parameters") if isinstance(tool, dict) else None
    if not isinstance(parameters, dict) or "properties" in parameters:
        return tool
    required = [
        name
        for name, one in parameters.items()
        if isinstance(one, dict) and "default" not in one and "optional" not in str(one.get("type"))
    ]
    schema = {"type": "object", "properties": parameters, "required": required}
    return {**tool, "parameters": schema}


def read_glaive(record: Record) -> list[Turn]:
    """A talk as one text, with calls marked in it and functions at the end of its system text."""
    system, declared = _functions(words(record.get("system") or ""))
    turns = [Turn("system", system, tools=declarations(declared))]
    before, *pieces = _SPEAKER.split(words(record["chat"]))
    if before.strip():
        raise UnusableRow("text before the first speaker")
    for speaker, text in zip(pieces[::2], pieces[1::2], strict=True):
        turns.append(_said(speaker, text.strip().removesuffix(_END).strip(), turns))
    return turns


def _said(speaker: str, text: str, before: list[Turn]) -> Turn:
    if speaker == "USER":
        return Turn("user", text)
    if speaker == "FUNCTION RESPONSE":
        called = before[-1].calls
        return Turn("tool", text, name=called[0].name if called else "")
    said, *call = _CALLED.split(text, maxsplit=1)
    return Turn("assistant", said.strip(), calls=_calls(call[0]) if call else ())


def _calls(text: str) -> tuple[ToolCall, ...]:
    quoted = _QUOTED_ARGUMENTS.search(text)
    if quoted:
        text = _QUOTED_ARGUMENTS.sub(lambda match: match[1] + match[2] + match[3], text)
    return calls_of_text(text)


def _functions(system: str) -> tuple[str, list[Any]]:
    """The words before the first function, and all functions that stand in a line after them."""
    declared: list[Any] = []
    said, at = system.removeprefix("SYSTEM:"), 0
    start = at = said.find("{")
    while at >= 0:
        try:
            function, end = json.JSONDecoder().raw_decode(said, at)
        except (ValueError, RecursionError):
            raise UnusableRow("functions in the system text that are not valid JSON") from None
        declared.append(function)
        at = said.find("{", end)
    return said[: start if start >= 0 else None].strip(), declared


XLAM = Form(
    lambda record: {"query", "answers", "tools"} <= record.keys(),
    read_xlam,
    frozenset({"query", "answers", "tools"}),
)
GLAIVE = Form(
    lambda record: isinstance(record.get("chat"), str) and "USER:" in record["chat"],
    read_glaive,
    frozenset({"system", "chat"}),
)
