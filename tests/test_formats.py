"""Formats beyond questions and talks: tools, judged answers, images, thoughts, personas."""

import re
from typing import Any, get_args

import pytest

from engine.data.checks import check
from engine.data.conversation import ToolCall, Turn, UnusableRow, thinking
from engine.data.formats.registry import FORMATS, conversation, detect, read
from engine.recipe import schema

USER, GOOD, BAD = Turn("user", "Why?"), Turn("assistant", "So."), Turn("assistant", "No.")


def test_recipes_name_the_formats_there_are() -> None:
    assert get_args(schema.Format) == tuple(FORMATS)


def test_the_format_is_that_of_most_rows() -> None:
    rows = [{"other": 1}, {"text": "a"}, *[{"question": "a", "answer": "b"}] * 2]
    assert detect(rows) == "question_response"
    assert detect([{"other": 1}]) is None


CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'
DECLARED = '[{"name": "weather", "parameters": {"type": "dict"}}]'


def sharegpt_tools(call: str = CALL, tools: str = DECLARED) -> dict[str, Any]:
    talk = [("human", "Oslo?"), ("function_call", call), ("observation", "7"), ("gpt", "7 degrees")]
    return {"conversations": [{"from": r, "value": v} for r, v in talk], "tools": tools}


def test_calls_of_sharegpt_rows_are_read() -> None:
    turns = conversation(sharegpt_tools(), "sharegpt")
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "assistant"]
    assert '"type": "object"' in turns[0].tools
    assert turns[2].calls == (ToolCall("weather", '{"city": "Oslo"}'),)
    assert turns[3].name == "weather"
    check(turns, "gemma4")
    with pytest.raises(UnusableRow, match="tool calls, which Gemma 3's template does not have"):
        check(turns, "gemma3")


def test_an_empty_list_of_tools_is_none() -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    assert conversation({**row, "tools": "[]"}, "sharegpt")[0].role == "user"


def test_results_are_named_by_the_id_of_their_call() -> None:
    calls = [{"id": f"c{n}", "function": {"name": f"f{n}", "arguments": "{}"}} for n in (1, 2)]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "c1", "content": {"value": 1}},
        {"role": "assistant", "content": "b"},
    ]
    turns = conversation({"messages": messages}, "messages")
    assert [(t.name, t.content) for t in turns[2:4]] == [("f2", "two"), ("f1", '{"value": 1}')]


def test_results_within_their_call_are_refused_rather_than_lost() -> None:
    called = {"role": "assistant", "content": "b", "tool_calls": [{"function": {"name": "f"}}]}
    given = {**called, "tool_responses": [{"name": "f", "response": {"value": 1}}]}
    with pytest.raises(UnusableRow, match="within the message of their call"):
        conversation({"messages": [{"role": "user", "content": "a"}, given]}, "messages")


def test_choices_stand_under_their_question() -> None:
    row = {"question": "Which?", "choices": ["Red", "Blue"], "answer": "B"}
    asked = conversation(row, "question_response")[0].content
    assert asked == "Which?\n\nA. Red\nB. Blue"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("{torn", "a tool call that is not valid JSON"),
        ('{"arguments": {}}', "a tool call without a name"),
        ('{"name": "f", "arguments": [1]}', "a tool call whose arguments are no object"),
        ('{"name": "f", "arguments": "{"}', "a tool call whose arguments are not valid JSON"),
    ],
)
def test_a_broken_call_says_why(call: str, reason: str) -> None:
    with pytest.raises(UnusableRow, match=reason):
        conversation(sharegpt_tools(call), "sharegpt")


IMAGES: dict[str, dict[str, Any]] = {
    "marks": {
        "messages": [
            {"role": "user", "content": "<image>Who?"},
            {"role": "assistant", "content": "She."},
        ],
        "images": ["1.jpg"],
    },
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "1.jpg"}},
                    {"type": "text", "text": "Who?"},
                ],
            },
            {"role": "assistant", "content": "She."},
        ]
    },
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_found_beside_the_file(name: str) -> None:
    turns = conversation(IMAGES[name], "messages", "/rows")
    assert turns[0].images == ("/rows/1.jpg",)


def test_marks_and_images_must_be_as_many() -> None:
    with pytest.raises(UnusableRow, match="differ in number"):
        conversation({**IMAGES["marks"], "images": ["1.jpg", "2.jpg"]}, "messages")
    asked = IMAGES["parts"]["messages"][0]["content"]
    said = [*asked, {"type": "text", "text": "What does <image> mean?"}]
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "A mark."}]
    with pytest.raises(UnusableRow, match="differ in number"):
        conversation({"messages": messages}, "messages")


def test_an_image_on_the_web_is_none_at_hand() -> None:
    for image in ("https://example.org/1.jpg", "data:image/jpeg;base64,AAAA"):
        with pytest.raises(UnusableRow, match="an image that is no local file"):
            conversation({**IMAGES["marks"], "images": [image]}, "messages")


THOUGHT = (USER, Turn("assistant", "<think>\nHm.\n</think>\n\nSo."))


def test_thoughts_are_kept_stripped_or_refused() -> None:
    kept = (USER, Turn("assistant", "So.", "Hm."))
    assert thinking(THOUGHT, "keep", has_channel=True) == kept
    assert thinking(THOUGHT, "strip", has_channel=True) == (USER, GOOD)
    assert thinking(THOUGHT, "keep", has_channel=False) == THOUGHT
    with pytest.raises(UnusableRow, match="a thought in the answer"):
        thinking(THOUGHT, "refuse", has_channel=True)
    with pytest.raises(UnusableRow, match="no place"):
        thinking(kept, "keep", has_channel=False)


@pytest.mark.parametrize("space", ["", " "])
def test_marks_are_read_with_and_without_spaces(space: str) -> None:
    text = f"<usr>{space}Why?\n<sys>{space}Now\n<bot>{space}So."
    assert conversation({"text": text}, "usr_bot") == (Turn("user", "Why?\n\nNow"), GOOD)


def test_a_persona_makes_the_same_turns_each_time() -> None:
    row = {"uuid": "1", "age": 30, "persona": "A.", "professional_persona": "B.", "other": "C."}
    turns = conversation(row, "nemotron_persona")
    assert turns == conversation(row, "nemotron_persona")
    assert sorted(turn.content for turn in turns[2::2]) == ["A.", "B."]
    with pytest.raises(UnusableRow, match="fewer than two persona fields"):
        conversation({**row, "persona": ""}, "nemotron_persona")


HEARD = {"role": "user", "content": "a"}


def spoken(channel: str, **more: str) -> dict[str, Any]:
    return {"role": "assistant", "channel": channel, "content": "b", **more}


def parts(*listed: Any) -> dict[str, Any]:
    return {"contents": [{"parts": "a"}, {"role": "model", "parts": [*listed]}]}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": [HEARD, spoken("analysis")]}, "that no answer follows"),
        ({"messages": [HEARD, spoken("analysis"), HEARD, spoken("final")]}, "no answer follows"),
        ({"messages": [HEARD, spoken("aside")]}, "a channel that Harmony does not have (aside)"),
        ({"messages": [HEARD, spoken("analysis"), spoken("final", thinking="c")]},
         "two different thoughts before one answer"),
        ({"messages": [HEARD, spoken("commentary", recipient="functions.f")]},
         "a tool call whose arguments are not valid JSON"),
        (parts({"executableCode": {"code": "1"}}),
         "a part that is neither text, image nor call (executableCode)"),
        (parts({"fileData": {"mimeType": "audio/mp3", "fileUri": "gs://a"}}),
         "a part that is neither text, image nor call (audio/mp3)"),
        (parts(), "an empty answer"),
        (parts({"text": "b"}, {"fileData": {"mimeType": "image/png", "fileUri": "gs://a"}}),
         "an image that is no local file"),
        (parts({"functionResponse": {"name": "f", "response": {}}}), "no answer in the row"),
        ({"messages": [HEARD, {"role": "tool", "name": True, "content": "c"}]},
         "a result of a function whose name is no text"),
        ({"contents": [{"parts": "a"}, "b"]}, "a content that is no object"),
        ({"question": "a", "answers": "{'text': array(['b'], dtype=object), 'answer_start': 0}"},
         "answers as text that is no JSON"),
        ({"question": "a", "answers": {"text": [], "answer_start": []}}, "without an answer"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_of_channels_and_parts_is_named(
    record: dict[str, Any], reason: str
) -> None:
    name = detect([record])
    assert name is not None
    with pytest.raises(UnusableRow, match=re.escape(reason)):
        conversation(record, name)


def test_words_before_a_call_stay_and_what_else_a_part_says_is_told() -> None:
    row = read({"messages": [HEARD, spoken("commentary"), spoken("final")]}, "messages")
    assert row.turns[1].content == "b\n\nb"
    row = read(parts({"text": "b", "thoughtSignature": "s"}), "gemini")
    assert row.unread == ("a message's thoughtSignature",)
