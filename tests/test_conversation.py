"""Rows of published formats become conversations; those that can't be say why."""

from typing import Any

import pytest

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats.registry import conversation, format_of

ASKED, SAID = Turn("user", "Why?"), Turn("assistant", "Because.")
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "messages": (
        "messages",
        {
            "messages": [
                {"role": "user", "content": "Why?"},
                {"role": "model", "content": "Because."},
            ]
        },
    ),
    "parts": (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
                {"role": "assistant", "content": [{"type": "text", "value": "Because."}]},
            ]
        },
    ),
    "sharegpt": (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": "Because."},
            ]
        },
    ),
    "alpaca": (
        "instruction_input_output",
        {"instruction": "Why?", "input": "", "output": "Because."},
    ),
    "no input": ("instruction_output", {"instruction": "Why?", "response": "Because."}),
    "question": ("question_response", {"question": "Why?", "answer": "Because."}),
    "prompt": ("prompt_completion", {"prompt": "Why?", "completion": "Because."}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_format_is_recognised_and_read(name: str) -> None:
    format_name, record = GOOD[name]
    assert format_of(record) == format_name
    assert conversation(record, format_name) == (ASKED, SAID)


def test_the_input_follows_the_instruction() -> None:
    record = {"instruction": "Translate.", "input": "Hallo", "output": "Hello"}
    assert conversation(record, "instruction_input_output")[0] == Turn(
        "user", "Translate.\n\nHallo"
    )


def test_unknown_columns_have_no_format() -> None:
    assert format_of({"a": 1, "b": "text"}) is None


def sharegpt(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": value} for role, value in turns]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (sharegpt(), "no answer in the row"),
        (sharegpt(("human", "Why?")), "no answer in the row"),
        (sharegpt(("human", "Why?"), ("gpt", " ")), "an empty answer"),
        (sharegpt(("gpt", "Hello")), "a turn of the assistant where the user's belongs"),
        (sharegpt(("human", "a"), ("gpt", "b"), ("human", "c")), "the last turn is the user's"),
        (
            sharegpt(("human", "a"), ("human", "b"), ("gpt", "c")),
            "a turn of the user where the assistant's belongs",
        ),
        (sharegpt(("human", "a"), ("ghost", "b")), "unknown role 'ghost'"),
        (
            sharegpt(("human", "a"), ("observation", "b"), ("gpt", "c")),
            "a turn of the tool where the assistant's belongs",
        ),
        (sharegpt(("human", "a"), ("gpt", None)), "content that is null"),
        (sharegpt(("human", "a"), ("gpt", [{"type": "video"}])), "content with parts"),
        ({"conversations": ["a"]}, "a message that is no object"),
    ],
)
def test_an_unfit_row_says_why(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRow, match=reason):
        conversation(record, "sharegpt")


def test_a_system_turn_may_come_first() -> None:
    turns = conversation(sharegpt(("system", "s"), ("human", "a"), ("gpt", "b")), "sharegpt")
    assert [turn.role for turn in turns] == ["system", "user", "assistant"]
