"""Conversations as templated text, with the spans of the assistant's words.

Rendering is slow, and most conversations differ in their words only. So the template is rendered
once per sequence of roles, with marks in place of words, and words are put in where the marks were.
Conversations with tools, thoughts or control tokens in their words are rendered one by one.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from engine.data.conversation import IMAGE, Conversation, Turn
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.gemma.shapes import Dialect

BREAK = "\ufdd0"
"""Stands inside a control token's name in the words, so that the template's own are told apart."""
SILENT = 2
"""Marks a token of an answer that carries no loss."""
WEIGHED = 3
"""Marks, its span's number added, a token of an answer that carries a part of its loss."""
_IN_THOUGHT, _IN_WORDS = "t", "w"
_NAME = re.compile("\ufdd3(\\d+)([tw])\ufdd4")
"""A turn's number, put into its words or its thought to find these again in the text."""
_SLOT = re.compile(r"(\t?)\ufdd1(\d+)\ufdd2(\t?)")


@dataclass(frozen=True, slots=True)
class Template:
    """A Jinja template for one dialect, and the turn tokens it writes."""

    dialect: Dialect
    text: str
    turn_start: str
    turn_end: str

    @property
    def hash(self) -> str:
        """Its SHA-256, shortened to 16 hexadecimal digits."""
        return self.sha256[:16]

    @property
    def sha256(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rendered:
    """Text with BREAK in control tokens that are words; `spans` are those the assistant says."""

    text: str
    spans: list[tuple[int, int]]
    weights: dict[int, float] = field(default_factory=dict)
    """What the loss of a span is multiplied by, by its place in the list; 1 where none stands."""
    lost_thoughts: int = 0
    """Thoughts that the template leaves out; their answers carry no loss."""

    def said_at(self, position: int) -> int:
        """1 where the assistant says a character, SILENT or WEIGHED where that is less, else 0."""
        for number, (start, end) in enumerate(self.spans):
            if start <= position < end:
                return self.sign_of(number)
        return 0

    def sign_of(self, span: int) -> int:
        """What `said_at` says of all that is within a span."""
        if span not in self.weights:
            return 1
        return WEIGHED + span if self.weights[span] else SILENT

    def weights_of(self, mask: list[int]) -> list[float]:
        """What the loss of each token is multiplied by, as `said_at` marks them."""
        return [self.weights[mark - WEIGHED] if mark >= WEIGHED else 1.0 for mark in mask]

    def replaced(self, old: str, new: str) -> "Rendered":
        """The same with one text for another, which stands outside of all spans."""
        growth = len(new) - len(old)
        spans = [
            (
                start + growth * self.text.count(old, 0, start),
                end + growth * self.text.count(old, 0, end),
            )
            for start, end in self.spans
        ]
        return replace(self, text=self.text.replace(old, new), spans=spans)

    def without_names(self, turns: Conversation) -> "Rendered":
        """The same without the names of turns in it, by which each span is its turn's."""
        owners = [
            (name.start(), int(name[1]), name[2] == _IN_THOUGHT)
            for name in _NAME.finditer(self.text)
        ]
        written = {turn for _, turn, is_thought in owners if is_thought}
        lost = {n for n, turn in enumerate(turns) if turn.reasoning} - written
        weights = {n: turn.weight for n, turn in enumerate(turns)} | dict.fromkeys(lost, 0.0)
        least = (
            min((weights[turn] for at, turn, _ in owners if start <= at < end), default=1.0)
            for start, end in self.spans
        )
        places = [name.span() for name in _NAME.finditer(self.text)]

        def moved(position: int) -> int:
            return position - sum(end - start for start, end in places if start < position)

        spans = [(moved(start), moved(end)) for start, end in self.spans]
        not_one = {number: weight for number, weight in enumerate(least) if weight != 1}
        return Rendered(_NAME.sub("", self.text), spans, not_one, len(lost))


_TRIMS: dict[tuple[bool, bool], Callable[[str], str]] = {
    (True, True): str,
    (True, False): str.rstrip,
    (False, True): str.lstrip,
    (False, False): str.strip,
}
"""What a template does to words, by whether it keeps what stands left and right of them."""


@dataclass(frozen=True, slots=True)
class _Slot:
    turn: int
    trim: Callable[[str], str]


_Piece = str | _Slot | bool
"""Text, a place for words, or a bound: True where the assistant begins, False where it ends."""


def messages(turns: Conversation) -> list[dict[str, Any]]:
    """The turns as chat messages. TRL's Gemma 3 template folds a system turn into the user's."""
    return [_message(turn) for turn in turns if turn.role != "system" or turn.content]


def _named(turns: Conversation) -> Conversation:
    """The turns with their numbers in what the assistant thinks, says and calls."""

    def named(number: int, turn: Turn) -> Turn:
        name = f"\ufdd3{number}{_IN_WORDS}\ufdd4"
        thought = turn.reasoning and f"\ufdd3{number}{_IN_THOUGHT}\ufdd4{turn.reasoning}"
        blanks = len(turn.content) - len(turn.content.lstrip())
        said = turn.content and turn.content[:blanks] + name + turn.content[blanks:]
        calls = tuple(replace(call, name=name + call.name) for call in turn.calls)
        return replace(turn, content=said, reasoning=thought, calls=calls)

    return tuple(
        named(number, turn) if turn.role == "assistant" else turn
        for number, turn in enumerate(turns)
    )


def _message(turn: Turn) -> dict[str, Any]:
    content = _parts(turn.content) if turn.images else turn.content
    message: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    if turn.calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": json.loads(call.arguments)}}
            for call in turn.calls
        ]
    if turn.name:
        message["name"] = turn.name
    return message


def _parts(content: str) -> list[dict[str, str]]:
    """Words and images apart, in order."""
    first, *rest = content.split(IMAGE)
    said = [first, *(part for words in rest for part in (IMAGE, words))]
    return [
        {"type": "image"} if part is IMAGE else {"type": "text", "text": part}
        for part in said
        if part.strip()
    ]


def tools(turns: Conversation) -> list[dict[str, Any]] | None:
    """Functions that the conversation declares."""
    declared = next((turn.tools for turn in turns if turn.tools), "")
    return json.loads(declared) if declared else None


@dataclass(slots=True)
class Renderer:
    """Renders conversations of one template; `controls` finds control tokens in words.

    With `sight`, images are written as the model reads them.
    """

    template: Template
    variables: dict[str, str]
    controls: re.Pattern[str]
    sight: ImageTokenizer | None = None
    _shapes: dict[tuple[str, ...], list[_Piece]] = field(default_factory=dict)

    def render(self, turns: Conversation) -> Rendered:
        """The conversation as text; a bare text stands between the tokens of begin and end."""
        if turns[0].role == "text":
            begin, end = self.variables["bos_token"], self.variables["eos_token"]
            text = f"{begin}{self._broken(turns[0].content)}{end}"
            weights = {} if turns[0].weight == 1 else {0: turns[0].weight}
            return Rendered(text, [(len(begin), len(text))], weights)
        is_special = False
        for turn in turns:
            if turn.reasoning or turn.weight != 1:
                rendered = self._safely(_named(turns), add_generation_prompt=False)
                return rendered.without_names(turns)
            is_special = is_special or self._is_special(turn)
        if is_special:
            return self._safely(turns, add_generation_prompt=False)
        roles = tuple(turn.role for turn in turns)
        if roles not in self._shapes:
            self._shapes[roles] = self._shape(roles)
        return _filled(self._shapes[roles], turns)

    def prompt(self, turns: Conversation) -> Rendered:
        """The conversation up to where the model begins to speak."""
        return self._safely(turns, add_generation_prompt=True)

    def _is_special(self, turn: Turn) -> bool:
        """Whether a turn is more than words, or its words must not be put in as they are."""
        if turn.calls or turn.tools or turn.images or turn.role == "tool":
            return True
        said = turn.content
        return not said.strip() or ("<" in said and bool(self.controls.search(said)))

    def _safely(self, turns: Conversation, *, add_generation_prompt: bool) -> Rendered:
        rendered = self._rendered(
            self._broken(messages(turns)), self._broken(tools(turns)), add_generation_prompt
        )
        if self.sight and any(turn.images for turn in turns):
            return rendered.replaced(self.sight.mark, self.sight.written)
        return rendered

    def _broken(self, value: object) -> Any:
        """Words, or all words within a structure, with control tokens broken."""
        if isinstance(value, str):
            return self.controls.sub(lambda match: match[0][0] + BREAK + match[0][1:], value)
        if isinstance(value, list):
            return [self._broken(item) for item in value]
        if isinstance(value, dict):
            return {self._broken(key): self._broken(item) for key, item in value.items()}
        return value

    def _rendered(
        self,
        chat: list[dict[str, Any]],
        declared: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> Rendered:
        texts, spans = render_jinja_template(
            [chat],
            tools=declared,
            chat_template=self.template.text,
            return_assistant_tokens_mask=True,
            add_generation_prompt=add_generation_prompt,
            **self.variables,
        )
        return Rendered(texts[0], [(start, end) for start, end in spans[0]])

    def _shape(self, roles: tuple[str, ...]) -> list[_Piece]:
        """Pieces of a conversation of these roles; tabs around a mark tell what is trimmed."""
        chat = [
            {"role": role, "content": f"\t\ufdd1{number}\ufdd2\t"}
            for number, role in enumerate(roles)
        ]
        rendered = self._rendered(chat)
        bounds = dict.fromkeys((start for start, _ in rendered.spans), True)
        bounds |= dict.fromkeys((end for _, end in rendered.spans), False)
        marks = {mark.start(): mark for mark in _SLOT.finditer(rendered.text)}
        pieces: list[_Piece] = []
        offset = 0
        for cut in sorted({*bounds, *marks}):
            pieces.append(rendered.text[offset:cut])
            offset = cut
            if cut in bounds:
                pieces.append(bounds[cut])
            if cut in marks:
                mark = marks[cut]
                pieces.append(_Slot(int(mark[2]), _TRIMS[bool(mark[1]), bool(mark[3])]))
                offset = mark.end()
        return [*pieces, rendered.text[offset:]]


def _filled(pieces: list[_Piece], turns: Conversation) -> Rendered:
    said: list[str] = []
    bounds: list[int] = []
    length = 0
    for piece in pieces:
        if piece is True or piece is False:
            bounds.append(length)
            continue
        text = piece if isinstance(piece, str) else piece.trim(turns[piece.turn].content)
        said.append(text)
        length += len(text)
    return Rendered("".join(said), list(zip(bounds[::2], bounds[1::2], strict=True)))
