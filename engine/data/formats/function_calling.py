"""Sets of function calls with columns of their own: Salesforce's xLAM and Glaive's second."""

import re
from typing import Any

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats.form import Form, Record, words
from engine.data.formats.meaning import as_json
from engine.data.formats.tool_text import functions_after
from engine.data.formats.tools import calls, declarations

_SPEAKER = re.compile(r"\s*(USER|ASSISTANT|FUNCTION RESPONSE):\s*")
_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_END = "<|endoftext|>"


def read_xlam(record: Record) -> list[Turn]:
    """A question, the functions at hand and the calls that answer it."""
    answers = as_json(record["answers"])
    answers = [answers] if isinstance(answers, dict) else answers
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
    """A talk as one text, its functions at the end of its system text."""
    system, declared = functions_after(words(record.get("system") or "").removeprefix("SYSTEM:"))
    turns = [Turn("system", system, tools=declarations(declared))]
    before, *pieces = _SPEAKER.split(words(record["chat"]))
    if before.strip():
        raise UnusableRow("text before the first speaker")
    for speaker, text in zip(pieces[::2], pieces[1::2], strict=True):
        turns.append(Turn(_ROLES[speaker], text.strip().removesuffix(_END).strip()))
    return turns


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
