"""A conversation as turns, and the rules its turns must keep."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "prompter": "user",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "ipython": "tool",
}
"""Role names found in published sets, in small letters; a call is an assistant's tool call."""


class UnusableRow(Exception):
    """A row that can't be trained on; the message is the reason it is counted under."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the assistant calls; `arguments` is a JSON object as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks (system, user, assistant, tool; text for bare text) and what."""

    role: str
    content: str
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    tools: str = ""
    """Declarations of the functions that may be called, a JSON list; on a system turn only."""
    images: tuple[str, ...] = ()
    """Image files in the order of their marks in the content."""
    name: str = ""
    """The function whose result a tool turn holds."""
    weight: float = 1.0
    """What the loss of this answer's tokens, or a text's, is multiplied by; 0 is no loss."""


Conversation = tuple[Turn, ...]
_WRITTEN = msgspec.json.Decoder(Conversation)


def written(turn: Turn) -> bytes:
    """A turn as JSON; a list of these is what `conversation` reads."""
    return msgspec.json.encode(turn)


def conversation(turns: bytes | str) -> Conversation:
    """The turns of a JSON list."""
    return _WRITTEN.decode(turns)


IMAGE = "<image>"
"""Where an image stands in a turn's content."""

_FOLLOWS = {
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user"},
    "call": {"tool"},
    "tool": {"tool", "assistant"},
}
_BELONGS = {"user": "assistant", "tool": "assistant", "call": "tool"}
_THOUGHT = re.compile(
    r"\s*(?:<think>|<thinking>|<\|channel>thought\n|<\|begin_of_thought\|>)(.*?)"
    r"(?:</think>|</thinking>|<channel\|>|<\|end_of_thought\|>)\s*",
    re.DOTALL,
)
_OPENINGS = ("<think>", "<thinking>", "<|begin_of_thought|>")
_SOLUTION = re.compile(
    r"<\|begin_of_solution\|>\s*(.*?)\s*(?:<\|end_of_solution\|>)?\s*", re.DOTALL
)
"""What OpenThoughts puts around an answer, after what it puts around the thought."""
_UNOPENED = re.compile(r"(.*?)</think>\s*", re.DOTALL)
"""DeepSeek's and Qwen's prompts open the thought, so that answers hold its end alone."""
_NO_PLACE = "a thought, for which the template has no place"


def settled(turns: list[Turn]) -> Conversation:
    """The turns as a conversation, without an empty system turn. Raises `UnusableRow`."""
    if turns and turns[0].role == "text":
        if not turns[0].content.strip():
            raise UnusableRow("an empty text")
        return tuple(turns)
    nonblank = [
        turn for turn in turns if turn.role != "system" or turn.content.strip() or turn.tools
    ]
    spoken = nonblank[1:] if nonblank and nonblank[0].role == "system" else nonblank
    if not any(turn.role == "assistant" for turn in spoken):
        raise UnusableRow("no answer in the row")
    before = "system"
    for turn in spoken:
        if turn.role not in _FOLLOWS[before]:
            expected = _BELONGS.get(before, "user")
            raise UnusableRow(f"a turn of the {turn.role} where the {expected}'s belongs")
        _check_not_empty(turn)
        before = "call" if turn.calls else turn.role
    if spoken[-1].role != "assistant":
        raise UnusableRow(f"the last turn is the {spoken[-1].role}'s")
    return tuple(nonblank)


def _check_not_empty(turn: Turn) -> None:
    if turn.content.strip() or turn.calls or turn.images or turn.role == "tool":
        return
    raise UnusableRow(
        "an empty answer" if turn.role == "assistant" else f"an empty {turn.role} turn"
    )


def thinking(turns: Conversation, policy: str, has_channel: bool) -> Conversation:
    """Thoughts kept as the template writes them, stripped, or refused with `UnusableRow`.

    A thought is a message's reasoning, or what its answer opens with between thought marks. Where
    the template has no thought channel, marks in the text stay text, and a reasoning raises
    `UnusableRow`; so does a mark without its other one.
    """
    is_kept = policy in ("keep", "each")
    if is_kept and not has_channel:
        if any(turn.reasoning or _unopened(turn.content) for turn in _answers(turns)):
            raise UnusableRow(_NO_PLACE)
        return turns
    if not any("<" in turn.content or turn.reasoning for turn in turns):
        return turns
    apart = tuple(_thought_apart(turn) for turn in turns)
    if is_kept or not any(turn.reasoning for turn in apart):
        return apart
    if policy == "refuse":
        raise UnusableRow("a thought in the answer")
    return tuple(replace(turn, reasoning="") for turn in apart)


def answers_apart(turns: Conversation) -> list[Conversation]:
    """A conversation for each answer, which alone carries loss: its thought is then the last one's.

    A call and what follows its results are one answer; without a thought there is one conversation.
    """
    if not any(turn.reasoning for turn in turns):
        return [turns]
    after = [*[n for n, turn in enumerate(turns) if turn.role == "user"][1:], len(turns)]
    parts, before = [], 0
    for end in after:
        silenced = (
            replace(turn, weight=0.0) if turn.role == "assistant" and n < before else turn
            for n, turn in enumerate(turns[:end])
        )
        parts.append(tuple(silenced))
        before = end
    return parts


def _answers(turns: Conversation) -> Iterator[Turn]:
    return (turn for turn in turns if turn.role == "assistant")


def _unopened(content: str) -> re.Match[str] | None:
    return None if "<think>" in content else _UNOPENED.match(content)


def _thought_apart(turn: Turn) -> Turn:
    if turn.role != "assistant":
        return turn
    thought = _THOUGHT.match(turn.content) or _unopened(turn.content)
    opening = next((one for one in _OPENINGS if turn.content.lstrip().startswith(one)), "")
    if opening and not thought:
        raise UnusableRow(f"a thought that is not closed ({opening})")
    if not thought or turn.reasoning:
        return turn
    answer = turn.content[thought.end() :]
    solution = _SOLUTION.fullmatch(answer)
    return replace(turn, reasoning=thought[1].strip(), content=solution[1] if solution else answer)
