"""Rows of one question, in one or more columns, and one answer."""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import chat, chat_marks, meaning
from engine.data.formats.form import Form, Record, words
from engine.guarded import Json

_NO_INPUT = {"<noinput>", "noinput", "no input", "<no input>", "nan", "n/a"}
"""What some Alpaca rows write where there is no input; read as none."""
_BESIDE = frozenset({"system", "system_prompt", "choices", "options", "history", *meaning.THOUGHTS})
"""Columns that are read beside question, passages and answer."""
NOTED_ACCEPTED = "a question with several right answers, of which the first is trained on"


def question_answer(
    *question: str,
    answer: tuple[str, ...],
    needs: tuple[str, ...] = (),
    passages: tuple[str, ...] = meaning.PASSAGES,
) -> Form:
    """The columns of a question, joined by an empty line, and the first there is of an answer's.

    Passages join the question, an earlier talk comes before it, a thought before the answer.
    It fits where the first column of the question, all of `needs`, and an answer are there.
    """

    columns = frozenset({*question, *answer, *passages}) | _BESIDE

    def fits(record: Record) -> bool:
        has_answer = any(name in record for name in answer)
        return has_answer and all(name in record for name in (question[0], *needs))

    def read(record: Record) -> list[Turn]:
        reply = _first_accepted(next(record[name] for name in answer if name in record))
        if isinstance(record.get(question[0]), list):
            return _conversational(record, question[0], reply)
        if turns := _templated(record.get(question[0]), reply):
            _refuse_beside_template(record, columns - {question[0], *answer})
            return turns
        parts = [_part(record, name) for name in question]
        parts += [
            *meaning.passages(record, passages),
            _choices(record.get("choices") or record.get("options")),
        ]
        system = chat.system_text(record.get("system") or record.get("system_prompt"))
        return [
            Turn("system", system),
            *_history(record.get("history")),
            Turn("user", "\n\n".join(part for part in parts if part)),
            *_answered(reply, record),
        ]

    def notes(record: Record) -> tuple[str, ...]:
        reply = next((record[name] for name in answer if name in record), None)
        if _templated(record.get(question[0]), reply):
            return (chat_marks.NOTED_MARKS,)
        return (NOTED_ACCEPTED,) if len({*_accepted(reply)}) > 1 else ()

    def unread(record: Record) -> Iterator[str]:
        first = next(name for name in answer if name in record)
        return meaning.unread(record, columns - {*answer} | {first})

    return Form(fits, read, columns, unread, notes)


def _templated(question: Any, reply: Any) -> list[Turn]:
    """The turns of a question that went through a chat template up to its answer; none else.

    What it answers itself carries no loss. Raises `UnusableRow` where they are no whole turns.
    """
    if not (isinstance(question, str) and isinstance(reply, str)):
        return []
    marks = chat_marks.mark_in_text(f"{question}{reply}")
    if marks is None or not chat_marks.asks_for_answer(question, marks):
        return []
    *earlier, answer = chat_marks.turns_of(f"{question}{reply}", marks)
    return [*map(chat.silent, earlier), answer]


def _refuse_beside_template(record: Record, columns: frozenset[str]) -> None:
    """Raises `UnusableRow` for what has no place in words that a template wrote already."""
    beside = sorted(name for name in columns if not meaning.is_empty(record.get(name)))
    if beside:
        raise UnusableRow(f"a question that went through a chat template, beside {beside[0]}")


def _accepted(reply: Any) -> list[str]:
    """Answers of which each is right, as question answering sets list them; empty for others.

    SQuAD has {text, answer_start} of lists, or a list of objects of these, TriviaQA {value, ...}.
    """
    if isinstance(reply, dict) and reply.keys().isdisjoint(("role", "from")):
        reply = reply.get("text", reply.get("value"))
        reply = [reply] if isinstance(reply, str) else reply
    listed = reply if isinstance(reply, list) else []
    is_marked = all(isinstance(one, dict) and "answer_start" in one for one in listed)
    texts = [one.get("text") for one in listed] if is_marked else listed
    return texts if all(isinstance(text, str) for text in texts) else []


def _first_accepted(reply: Any) -> Any:
    """The first of several right answers; any other reply as it stands. Raises `UnusableRow`."""
    accepted = _accepted(reply)
    if isinstance(reply, str) and reply.startswith("{") and "answer_start" in reply:
        raise UnusableRow("answers as text that is no JSON")
    if not accepted and isinstance(reply, dict) and "answer_start" in reply:
        raise UnusableRow("a question without an answer")
    return accepted[0] if accepted else reply


def _answered(reply: Json, record: Record) -> list[Turn]:
    """An answer as text, as a message, or as several."""
    if isinstance(reply, list | dict):
        return [chat.turn(one) for one in (reply if isinstance(reply, list) else [reply])]
    return [Turn("assistant", words(reply), meaning.thought(record))]


def _conversational(record: Record, question: str, reply: Json) -> list[Turn]:
    """TRL's conversational prompt and completion; what the prompt answers carries no loss."""
    prompt = chat.turns(record, record[question], "role", "content")
    return [*map(chat.silent, prompt), *_answered(reply, record)]


def _history(earlier: Json) -> list[Turn]:
    """Alpaca's earlier exchanges, a question and an answer each, or a list of messages."""
    if meaning.is_empty(earlier):
        return []
    if not isinstance(earlier, list):
        raise UnusableRow("a history that is no list")
    turns: list[Turn] = []
    for exchange in earlier:
        if isinstance(exchange, dict):
            turns.append(chat.turn(exchange, *chat.keys_of(exchange)))
        elif isinstance(exchange, list) and len(exchange) == 2:
            turns += [Turn("user", words(exchange[0])), Turn("assistant", words(exchange[1]))]
        else:
            raise UnusableRow("a history that holds no pairs of question and answer")
    return turns


def _choices(listed: Any) -> str:
    """Choices of a question as lines with letters, by which benchmarks answer.

    ARC's are {text, label}, two lists of the same length, MedQA's a text for each letter.
    """
    if isinstance(listed, dict) and {"text", "label"} <= listed.keys():
        letters, texts = listed["label"], listed["text"]
    elif isinstance(listed, dict):
        letters, texts = list(listed), list(listed.values())
    else:
        letters, texts = ascii_uppercase, listed
    if meaning.is_empty(listed):
        return ""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnusableRow("choices that are no list of texts")
    return "\n".join(f"{letter}. {text}" for letter, text in zip(letters, texts, strict=False))


def _part(record: Record, name: str) -> str:
    text = words(record.get(name) or "").strip()
    return "" if name == "input" and text.lower() in _NO_INPUT else text


INSTRUCTION_INPUT_OUTPUT = question_answer(
    "instruction", "input", answer=("output", "response"), needs=("input",)
)
INSTRUCTION_OUTPUT = question_answer("instruction", answer=("output", "response"))
QUESTION_RESPONSE = question_answer("question", answer=("response", "answer", "answers"))
PROMPT_COMPLETION = question_answer("prompt", answer=("completion", "response"))
TITLE_TEXT = question_answer("title", answer=("text",), passages=())
"""An article answers its title."""
