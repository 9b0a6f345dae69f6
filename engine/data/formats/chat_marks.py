"""Text that was already put through a chat template, read back into turns by one table of marks."""

import re
from dataclasses import dataclass

from engine.data.conversation import ROLES, Turn, UnusableRow


@dataclass(frozen=True, slots=True)
class ChatMarks:
    """How one template opens and ends turns."""

    name: str
    """A mark without which no text has an exchange of it."""
    head: re.Pattern[str]
    """Where a turn begins; group 1 is its role."""
    ends: tuple[str, ...]
    """What may stand after a turn's words."""
    roles: dict[str, str]
    """Roles that `ROLES` doesn't have."""


def _marks(name: str, head: str, *ends: str, **roles: str) -> ChatMarks:
    return ChatMarks(name, re.compile(head), ends, roles)


NOTED_MARKS = "turns told from a chat template's marks in the text"
_ROLE = r"(system|developer|user|human|prompter|assistant|model|tool|ipython)"
TABLE = (
    _marks("<start_of_turn>", rf"<start_of_turn>{_ROLE}\n", "<end_of_turn>", "<eos>"),
    _marks("<|turn>", rf"<\|turn>{_ROLE}\n", "<turn|>", "<eos>"),
    _marks("<|im_start|>", rf"<\|im_start\|>{_ROLE}\n", "<|im_end|>", "<|endoftext|>"),
    _marks(
        "<|start_header_id|>", rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>\n\n",
        "<|eot_id|>", "<|end_of_text|>",
    ),
    _marks(
        "<|assistant|>", rf"<\|{_ROLE}\|>", "</s>", "<|end|>", "<|endoftext|>",
    ),
    _marks(
        "<|start|>", rf"<\|start\|>{_ROLE}(?:<\|channel\|>[^\n]{{0,200}}?)?<\|message\|>",
        "<|end|>", "<|return|>",
    ),
    _marks("<｜Assistant｜>", r"<｜(User|Assistant)｜>", "<｜end▁of▁sentence｜>"),
    _marks(
        "[INST]", r"(\[INST\]|\[/INST\])", "</s>", "<s>",
    ),
    _marks("### Assistant:", r"### (System|Human|User|Assistant):", "</s>", "<|endoftext|>"),
    _marks("<bot>:", r"<(human|bot)>:"),
    _marks(
        "### Response:", r"(?:^|\n)### (Instruction|Input|Response):",
        "</s>", "<|endoftext|>",
        instruction="user", input="user", response="assistant",
    ),
)  # fmt: skip
_TRANSCRIPT = _marks("Assistant:", r"(?:^|\n)(Human|User|Assistant):(?=\s|$)")
"""Of plain names, which a text that begins with the user's is taken for."""
_BEGINNINGS = ("<｜begin▁of▁sentence｜>", "<bos>", "<s>", "<|begin_of_text|>")
_HARMONY_THOUGHT = re.compile(
    r"<\|start\|>assistant<\|channel\|>analysis<\|message\|>((?:(?!<\|start\|>).)*?)"
    r"<\|end\|>\s*<\|start\|>assistant<\|channel\|>final<\|message\|>",
    re.DOTALL,
)
"""Of gpt-oss, with the head of the answer that follows."""
_OF_HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|call|>")
_SYSTEM = re.compile(r"\s*<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
_ROLE_OF_BRACKETS = {"[INST]": "user", "[/INST]": "assistant"}


def mark_in(text: str) -> ChatMarks | None:
    """The template whose turns stand in a text, and which therefore says who speaks."""
    return next((marks for marks in TABLE if _is_answered(text, marks)), None)


def mark_in_text(text: str) -> ChatMarks | None:
    """The same of a bare text, which may be a transcript with plain names too."""
    is_transcript = text.lstrip().startswith(("Human:", "User:"))
    if is_transcript and _is_answered(text.lstrip(), _TRANSCRIPT):
        return _TRANSCRIPT
    return mark_in(text)


def _is_answered(text: str, marks: ChatMarks) -> bool:
    """Whether somebody asks and somebody answers: one mark alone may be a heading, or be quoted."""
    if marks.name not in text:
        return False
    roles = {_role(name, marks) for name in marks.head.findall(text)}
    return {"user", "assistant"} <= roles


def asks_for_answer(text: str, marks: ChatMarks) -> bool:
    """Whether a text ends where the assistant is to speak."""
    heads = [*marks.head.finditer(text)]
    is_last = bool(heads) and not text[heads[-1].end() :].strip()
    return is_last and _role(heads[-1][1], marks) == "assistant"


def turns_of(text: str, marks: ChatMarks) -> list[Turn]:
    """The turns of a templated text. Raises `UnusableRow` where it isn't whole turns of it."""
    if marks.name == "<|start|>":
        text = _HARMONY_THOUGHT.sub(r"<|start|>assistant<|message|><think>\1</think>", text)
    before, *pieces = marks.head.split(text)
    turns: list[Turn] = []
    preamble = _without_ends(before, _BEGINNINGS)
    if preamble:
        if marks.name != "### Response:":
            raise _refused(marks)
        turns.append(Turn("system", preamble))
    for name, said in zip(pieces[::2], pieces[1::2], strict=True):
        role = _role(name, marks)
        said = _without_ends(said, marks.ends)
        if role == "user" and (system := _SYSTEM.match(said)):
            turns.append(Turn("system", system[1]))
            said = said[system.end() :]
        if turns and turns[-1].role == role and role in ("user", "system"):
            # Alpaca's input joins its instruction, and a developer's words the system's.
            turns[-1] = Turn(role, f"{turns[-1].content}\n\n{said}".strip())
        else:
            turns.append(Turn(role, said))
    if any(mark_in(turn.content) or _is_torn(turn.content, marks) for turn in turns):
        raise _refused(marks)
    return turns


def _is_torn(said: str, marks: ChatMarks) -> bool:
    """Whether words hold marks of what is no turn of a role: calls and results of Harmony's."""
    return marks.name == "<|start|>" and any(mark in said for mark in _OF_HARMONY)


def _role(name: str, marks: ChatMarks) -> str:
    name = name.lower()
    role = marks.roles.get(name) or _ROLE_OF_BRACKETS.get(name.upper()) or ROLES[name]
    return "tool" if role == "call" else role


def _without_ends(text: str, ends: tuple[str, ...]) -> str:
    text = text.strip()
    while end := next((end for end in ends if text.endswith(end)), ""):
        text = text.removesuffix(end).strip()
    return text


def _refused(marks: ChatMarks) -> UnusableRow:
    return UnusableRow(f"text that holds a chat template's marks ({marks.name}) and no whole turns")
