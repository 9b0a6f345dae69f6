"""Stated rules for the text of a conversation: what drops a row, and what is only noted."""

import re

from engine.data.conversation import Conversation, UnusableRow
from engine.data.formats import chat_marks
from engine.gemma.shapes import Dialect

CONTROL_TOKENS = re.compile(
    r"<(?:\|(?:turn|channel|tool|tool_call|tool_response|think|image|audio|video|\")\|?"
    r"|(?:turn|channel|tool|tool_call|tool_response|image|audio)\|"
    r"|start_of_turn|end_of_turn|start_of_image|end_of_image|bos|eos|pad|unk|mask)>"
)
"""Control tokens of Gemma 3 and Gemma 4 as they would stand in text."""

DAMAGE = {
    "control characters in the text": re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    "text that is not valid Unicode": re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"),
    "replacement characters (U+FFFD) in the text": re.compile("\ufffd"),
    "bidirectional controls in the text": re.compile("[\u202a-\u202e\u2066-\u2069]"),
    "mojibake in the text": re.compile(
        "[\u00c3\u00c2][\u00a0-\u00bf]|\u00e2\u20ac[\u2122\u0153\u201c\u201d\u02dc\u00a6]"
        "|\u00ef\u00bf\u00bd|\u00f0\u0178"
    ),
}
"""What makes a row unfit, by reason; the ranges in mojibake are UTF-8 read as Latin-1."""
_ASCII_CONTROLS = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
"""The only damage that ASCII can have."""
_MAY_BE_DAMAGE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00c2\u00c3\u00e2\u00ef\u00f0"
    "\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffd-\uffff]"
)
"""Letters without one of which nothing of `DAMAGE` is in a text."""
_SIGNS = ("<", "{{", *(marks.name for marks in chat_marks.TABLE if "<" not in marks.name))
"""One of these stands in each mark, placeholder and control token."""

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{\s*[A-Za-z_][\w.]*\s*\}\}")

FOREIGN_MARKS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|start_header_id|end_header_id|begin_of_text"
    r"|end_of_text|user|assistant|system|end|start|message|return)\|>|</s>\s*\Z"
)
"""Marks of templates that are none of Gemma's."""
NOTED_FOREIGN = "marks of another model's template in the text, trained on as plain text"
NOTED_CONTROL = "control tokens in the text, trained on as plain text"
NOTED_SHORT = "an answer of one character"


def check(turns: Conversation, dialect: Dialect) -> tuple[str, ...]:
    """What is worth a note about a row that stays. Raises `UnusableRow` where it can't.

    A placeholder counts outside code only; joiners and direction marks that scripts need are fine.
    """
    if dialect == Dialect.GEMMA3 and any(t.calls or t.tools or t.role == "tool" for t in turns):
        raise UnusableRow("tool calls, which Gemma 3's template does not have; choose a Gemma 4")
    parts = texts(turns)
    notes = [] if _is_plain("\n".join(parts)) else _notes(turns, parts)
    if len(turns[-1].content.strip()) == 1 and not turns[-1].calls:
        notes.append(NOTED_SHORT)
    return tuple(dict.fromkeys(notes))


def _is_plain(text: str) -> bool:
    """Whether a text holds nothing that is looked for, told at a glance; most do."""
    for sign in _SIGNS:
        if sign in text:
            return False
    if not text.isascii():
        return not _MAY_BE_DAMAGE.search(text)
    return len(text.encode().translate(None, _ASCII_CONTROLS)) == len(text)


def _notes(turns: Conversation, parts: list[str]) -> list[str]:
    for turn in turns if turns[0].role != "text" else ():
        # Looked for twice, as taking code out costs more than looking.
        is_marked = chat_marks.mark_in(turn.content) is not None
        if is_marked and (marks := chat_marks.mark_in(CODE.sub("", turn.content))):
            reason = f"a message that already holds a chat template's marks ({marks.name})"
            raise UnusableRow(reason)
    notes = []
    for text in parts:
        for reason, pattern in DAMAGE.items():
            if pattern.search(text):
                raise UnusableRow(reason)
        if "{{" in text and PLACEHOLDER.search(CODE.sub("", text)):
            raise UnusableRow("an unfilled {{placeholder}}")
        if "<" in text and CONTROL_TOKENS.search(text):
            notes.append(NOTED_CONTROL)
        if "<" in text and FOREIGN_MARKS.search(text):
            notes.append(NOTED_FOREIGN)
    return notes


def texts(turns: Conversation) -> list[str]:
    """Every text of a conversation that a template writes out."""
    parts = [turn.content for turn in turns]
    for turn in turns:
        parts += [turn.reasoning, turn.tools, turn.name]
        parts += [part for call in turn.calls for part in (call.name, call.arguments)]
    return [text for text in parts if text]
