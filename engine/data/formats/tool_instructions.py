"""What published prompts say about writing calls as text, told from the other words of a prompt.

The prompts are those of NousResearch's Hermes function calling and Qwen2.5's template, Glaive's
function calling v2, ToolACE and the Berkeley leaderboard, and Salesforce's xLAM.
"""

import re

import regex

_BLOCKS = regex.compile(
    r"<tool_call>\s*\{.*?</tool_call>"
    r"|\[BEGIN OF FORMAT INSTRUCTION\].*?\[END OF FORMAT INSTRUCTION\]"
    r"|[^\n.!?]*json schema[^\n.!?:{]*:?\s*(?P<schema>\{(?:[^{}]++|(?&schema))*+\})",
    regex.DOTALL | regex.IGNORECASE,
)
"""An example of a call, a section of instructions, or a schema and the sentence before it."""
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?:](?=\s)|$)", re.MULTILINE)
_SAYINGS = re.compile(
    r"</?tools?>|</?tool_calls?>|</?functioncall>|</?tool_response>"
    r"|^# tools$"
    r"|function[- ]calling ai model"
    r"|may call one or more functions"
    r"|make assumptions about what values"
    r"|here are the available tools"
    r"|for each function call,? return"
    r"|use them if required"
    r"|expert in composing functions"
    r"|a question and a set of possible functions"
    r"|make one or more function/tool calls"
    r"|none of the functions? can be used"
    r"|lacks the parameters required by the function"
    r"|should only return the function calls?"
    r"|functions in json format"
    r"|decide to (?:return|invoke) (?:the|any)(?: of the)? function"
    r"|put (?:it|them) in the format of"
    r"|no other text must be included",
    re.IGNORECASE,
)
"""Sentences of these prompts that are of no use where calls are not written as text."""
_ACCESS = re.compile(r",? with access to the following functions", re.IGNORECASE)
"""Glaive's, within a sentence that says who the assistant is."""
_BLANK_LINES = re.compile(r"[ \t]*\n\s*\n\s*")


def without(system: str) -> str:
    """A system text without such words; the text itself where it has none."""
    said = _BLOCKS.sub("", system)
    said = _SENTENCE.sub(lambda sentence: "" if _SAYINGS.search(sentence[0]) else sentence[0], said)
    said = _ACCESS.sub("", said)
    return system if said == system else _BLANK_LINES.sub("\n\n", said).strip()
