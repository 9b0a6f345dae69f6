"""Rows that judge answers: a better and a worse one, or one with a label.

Preference tuning reads them here; supervised training refuses them, or takes the wanted answers.
"""

import re
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Conversation, Turn, UnusableRow, settled
from engine.data.formats import chat, chat_marks, meaning, question_answer, registry
from engine.data.formats.comparisons import COMPARISONS, Compared, comparison_of
from engine.data.formats.form import Form, Record, words

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
class Judged:
    """What was asked, an answer to it, and whether such answers are wanted."""

    prompt: Conversation
    completion: Conversation
    label: bool


@dataclass(frozen=True, slots=True)
class ReadPreference:
    """A row that judges answers, and what it says beside them."""

    row: Pair | Judged
    shape: str
    """One of `COMPARISONS`, or the format of a row whose one answer has a label."""
    unread: tuple[str, ...] = ()
    """Names of columns, and of keys of messages, that say something and were not read."""


def read(record: Record, folder: str = "") -> ReadPreference:
    """A row's judgement, with image files relative to `folder`. Raises `UnusableRow`."""
    meaning.refuse_unheard(record)
    shape = comparison_of(record)
    if shape is None:
        return _judged(record, folder)
    try:
        return _compared(COMPARISONS[shape].read(record), shape, folder)
    except (KeyError, StopIteration, TypeError, AttributeError, ValueError):
        raise UnusableRow(f"columns are not those of {shape}") from None


def _judged(record: Record, folder: str) -> ReadPreference:
    """A row of supervised training, and the columns that judge its answer."""
    verdicts = meaning.judgements(record)
    plain = {name: value for name, value in record.items() if name not in verdicts}
    name = registry.supervised_format_of(plain)
    if not verdicts or name is None:
        raise UnusableRow("a row that judges no answer")
    if len({*verdicts.values()}) > 1:
        raise UnusableRow(f"columns {' and '.join(verdicts)} that judge otherwise")
    label = next(iter(verdicts.values()))
    row = registry.read(plain, name, folder)
    turns = row.turns
    num_prompt = 1 + max((n for n, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if not num_prompt:
        raise UnusableRow("an answer without what was asked")
    return ReadPreference(Judged(turns[:num_prompt], turns[num_prompt:], label), name, row.unread)


def _compared(row: Compared, shape: str, folder: str) -> ReadPreference:
    talks, columns, names = [], row.columns, list[str]()
    for answer in (row.better, row.worse):
        turns, read_columns = _talk(row.prompt_record, answer)
        talks.append(settled([registry.located(turn, folder) for turn in turns]))
        columns |= read_columns
        names += chat.unread_keys(answer) if isinstance(answer, list) else ()
    chosen, rejected = talks
    if chosen == rejected:
        raise UnusableRow("chosen and rejected are the same")
    same = 0
    while same < min(map(len, talks)) and chosen[same] == rejected[same]:
        same += 1
    if not same or chosen[same - 1].role == "assistant":
        raise UnusableRow("chosen and rejected answer different prompts")
    names = [*meaning.unread(row.prompt_record, columns), *dict.fromkeys(names)]
    return ReadPreference(Pair(chosen[:same], chosen[same:], rejected[same:]), shape, tuple(names))


def _talk(prompt_record: Record, answer: Any) -> tuple[list[Turn], frozenset[str]]:
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


def _said(answer: Any, *, is_alone: bool) -> list[Record]:
    """An answer as messages: text, one message, a list of them, or a transcript of a whole talk."""
    if isinstance(answer, str):
        return transcript(answer) if is_alone else [{"role": "assistant", "content": answer}]
    return [_message(one) for one in (answer if isinstance(answer, list) else [answer])]


def _message(message: Any) -> Record:
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
