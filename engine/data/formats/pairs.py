"""Rows that compare answers as pairs: what was asked, a better and a worse answer.

Preference tuning reads them as they are; supervised training takes the better ones where a recipe
says `format = "chosen"`.
"""

import re
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Conversation, Turn, UnusableRow, settled
from engine.data.formats import chat, chat_marks, meaning, question_answer, tool_text
from engine.data.formats.comparisons import COMPARISONS, Compared, comparison_of
from engine.data.formats.form import Form, Record, words
from engine.guarded import Json

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")
_ROLES = {"Human": "user", "Assistant": "assistant"}
_LISTS = ("messages", "conversations", "conversation", "prompt", "context")
"""Columns with the messages that were said before the answers."""
_TEXTS: dict[str, tuple[Form, str]] = {
    "prompt": (question_answer.PROMPT_COMPLETION, "completion"),
    "question": (question_answer.QUESTION_RESPONSE, "response"),
    "instruction": (question_answer.INSTRUCTION_INPUT_OUTPUT, "output"),
    "query": (question_answer.question_answer("query", answer=("response",)), "response"),
    "input": (question_answer.question_answer("input", answer=("output",)), "output"),
}
"""Columns with a question as text, and the form of a row that asks by it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What was asked, and a better and a worse answer to it.

    An answer is all that follows what both have in common, of several turns where tools are called.
    """

    prompt: Conversation
    chosen: Conversation
    rejected: Conversation


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A row that compares answers, and what it says beside them."""

    pair: Pair
    shape: str
    """One of `COMPARISONS`."""
    unread: tuple[str, ...]
    """Names of columns, and of keys of messages, that say something and were not read."""


def read_pair(record: Record) -> ReadPair:
    """A row's pair of answers. Raises `UnusableRow` with the reason."""
    shape, row = _comparison(record)
    try:
        return _compared(row, shape)
    except (KeyError, StopIteration, TypeError, AttributeError, ValueError):
        raise UnusableRow(f"columns are not those of {shape}") from None


def _comparison(record: Record) -> tuple[str, Compared]:
    shape = comparison_of(record)
    if shape is None:
        raise UnusableRow("a row that compares no answers")
    return shape, COMPARISONS[shape].read(record)


def _compared(row: Compared, shape: str) -> ReadPair:
    chosen, names = _side(row, row.better)
    rejected, more_names = _side(row, row.worse)
    if chosen == rejected:
        raise UnusableRow("chosen and rejected are the same")
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same] == rejected[same]:
        same += 1
    if not same or chosen[same - 1].role == "assistant":
        raise UnusableRow("chosen and rejected answer different prompts")
    pair = Pair(chosen[:same], chosen[same:], rejected[same:])
    return ReadPair(pair, shape, tuple(dict.fromkeys([*names, *more_names])))


def _side(row: Compared, answer: Json) -> tuple[Conversation, list[str]]:
    """The talk with one of the answers, and the names of what is not read of it."""
    turns, columns = _talk(row.prompt_record, answer)
    names = [*meaning.unread(row.prompt_record, row.columns | columns)]
    names += chat.unread_keys(answer) if isinstance(answer, list) else ()
    return settled(tool_text.read_out(turns)), names


def _talk(prompt_record: Record, answer: Json) -> tuple[list[Turn], frozenset[str]]:
    """The turns of a row with one of its answers, and the columns that they were read from."""
    listed = next((n for n in _LISTS if _asks(prompt_record.get(n))), "")
    question = next(
        (n for n in _TEXTS if isinstance(prompt_record.get(n), str) and prompt_record[n].strip()),
        "",
    )
    said = _said(answer, is_alone=not listed and not question)
    if said and not chat.is_answer(said[0]):
        turns = chat.turns(prompt_record, said)
        _require_asked(turns, prompt_record.get(listed), prompt_record.get(question))
        return turns, chat.ROW_COLUMNS | {listed, question}
    if listed:
        turns = chat.turns(prompt_record, [*map(_message, prompt_record[listed]), *said])
        return turns, chat.ROW_COLUMNS | {listed}
    if not question:
        raise UnusableRow("answers without what was asked")
    if _SPEAKER.match(prompt_record[question]):
        turns = chat.turns(prompt_record, [*_unanswered(prompt_record[question]), *said])
        return turns, chat.ROW_COLUMNS | {question}
    form, column = _TEXTS[question]
    before = form.read({**prompt_record, column: "an answer"})[:-1]
    return [*before, *chat.turns({}, said)], form.columns - {*meaning.THOUGHTS}


def _said(answer: Json, *, is_alone: bool) -> list[Record]:
    """An answer as messages: text, one message, a list of them, or a transcript of a whole talk."""
    if isinstance(answer, str):
        return transcript(answer) if is_alone else [{"role": "assistant", "content": answer}]
    return [_message(one) for one in (answer if isinstance(answer, list) else [answer])]


def _message(message: Json) -> Record:
    """A message whose keys are `role` and `content`."""
    if not isinstance(message, dict):
        raise UnusableRow("a message that is no object")
    role, content = chat.keys_of(message)
    rest = {name: value for name, value in message.items() if name not in (role, content)}
    return {"role": message.get(role), "content": message.get(content), **rest}


def _asks(value: Any) -> bool:
    """Whether it is a list of messages that an answer is to follow."""
    are_messages = isinstance(value, list) and bool(value) and isinstance(value[-1], dict)
    return are_messages and not chat.is_answer(value[-1])


def _require_asked(turns: list[Turn], listed: Any, question: Any) -> None:
    """Raises `UnusableRow` where whole talks are not about what the row asks beside them."""
    messages = [one for one in map(_message, listed or ()) if not chat.is_answer(one)]
    questions = [words(one["content"]) for one in messages] + ([question] if question else [])
    heard = [turn.content for turn in turns if turn.role != "assistant"]
    if any(not any(text.strip() in said for said in heard) for text in questions):
        raise UnusableRow("a prompt that is not in the answers' own talks")


def _unanswered(text: str) -> list[Record]:
    """A transcript that ends where the assistant is to speak."""
    return transcript(re.sub(r"\s*Assistant:\s*$", "", text))


def transcript(text: str) -> list[Record]:
    """Messages of a talk written with `Human:` and `Assistant:`, or by a chat template's marks.

    Raises `UnusableRow` where it is neither.
    """
    before, *pieces = _SPEAKER.split(text)
    if pieces and not before.strip():
        said = zip(pieces[::2], pieces[1::2], strict=True)
        return [{"role": _ROLES[name], "content": spoken.strip()} for name, spoken in said]
    marks = chat_marks.mark_in(text)
    if marks is None:
        raise UnusableRow("answers without what was asked, and no transcript of a talk")
    return [{"role": t.role, "content": t.content} for t in chat_marks.turns_of(text, marks)]


def _read_chosen(record: Record) -> list[Turn]:
    """The better answer, which alone carries loss: all that follows the last question."""
    _, row = _comparison(record)
    turns = _side(row, row.better)[0]
    last = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
    return [*map(chat.silent, turns[: last + 1]), *turns[last + 1 :]]


def _unread_of_chosen(record: Record) -> list[str]:
    _, row = _comparison(record)
    return _side(row, row.better)[1]


BETTER_ANSWERS = Form(lambda record: False, _read_chosen, frozenset(), _unread_of_chosen)
"""Never told from columns, since rows that judge answers are trained on only where asked for."""
