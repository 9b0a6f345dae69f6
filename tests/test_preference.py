"""Rows that judge answers, in every shape that published sets give them: own rows of each shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.conversation import ToolCall, Turn, UnusableRow
from engine.data.formats.preference import Judged, Pair, read
from engine.data.formats.registry import format_of
from tests.test_real_rows import FOLDER

USER, GOOD, BAD = Turn("user", "Why?"), Turn("assistant", "So."), Turn("assistant", "No.")
ASKED = [{"role": "user", "content": "Why?"}]
SO, NO = ({"role": "assistant", "content": said} for said in ("So.", "No."))
HH = "\n\nHuman: Why?\n\nAssistant: {}"
TEMPLATED = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"
SIDES = {"chosen": "So.", "rejected": "No."}
TALKS = {"chosen": [*ASKED, SO], "rejected": [*ASKED, NO]}
SCORED = [
    {"response": said, "overall_score": score}
    for said, score in (("No.", 3.0), ("So.", "8.5"), ("Hm.", 5), ("Ha.", None))
]
PAIRS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": "Why?", **SIDES},
    "question": {"question": "Why?", **SIDES},
    "instruction": {"instruction": "Why?", "input": "", **SIDES},
    "input": {"input": "Why?", **SIDES},
    "implicit talks": TALKS,
    "prompt and talks": {"prompt": "Why?", **TALKS},
    "UltraFeedback binarized": {
        "prompt": "Why?", "prompt_id": "a1", **TALKS, "messages": TALKS["chosen"],
    },
    "explicit messages": {"prompt": ASKED, "chosen": [SO], "rejected": [NO]},
    "text and messages": {"prompt": "Why?", "chosen": [SO], "rejected": [NO]},
    "messages and text": {"messages": ASKED, **SIDES},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Why?"}],
        "chosen": {"from": "gpt", "value": "So."}, "rejected": {"from": "gpt", "value": "No."},
    },
    "mixed keys": {
        "conversations": [{"from": "human", "value": "Why?"}], "chosen": SO, "rejected": NO,
    },
    "HH": {"chosen": HH.format("So."), "rejected": HH.format("No.")},
    "templated": {"chosen": TEMPLATED.format("So."), "rejected": TEMPLATED.format("No.")},
    "prompt as a transcript": {"prompt": HH.format(""), **SIDES},
    "SHP": {"history": "Why?", "human_ref_A": "No.", "human_ref_B": "So.", "labels": 0},
    "PKU": {"prompt": "Why?", "response_0": "No.", "response_1": "So.", "better_response_id": 1},
    "PKU, safer": {
        "prompt": "Why?", "response_0": "So.", "response_1": "No.", "safer_response_id": 0,
    },
    "UltraFeedback": {"instruction": "Why?", "completions": SCORED},
    "responses and scores": {"prompt": "Why?", "responses": ["No.", "So."], "scores": [1, 2]},
    "distilabel": {"instruction": "Why?", "generations": ["So.", "No."], "ratings": [5.0, 1.0]},
    "Nectar": {
        "prompt": HH.format(""),
        "answers": [{"answer": "No.", "rank": 7.0}, {"answer": "So.", "rank": 1.0}],
    },
    "StackExchange": {
        "question": "Why?",
        "answers": [{"text": "So.", "pm_score": 4}, {"text": "No.", "pm_score": 0}],
    },
    "paired StackExchange": {"question": "Why?", "response_j": "So.", "response_k": "No."},
    "WebGPT": {
        "question": {"full_text": "Why?", "id": "a"}, "answer_0": "So.", "answer_1": "No.",
        "score_0": 0.5, "score_1": -0.5,
    },
    "HelpSteer3": {
        "context": ASKED, "response1": "So.", "response2": "No.", "overall_preference": -2,
    },
    "arena": {
        "conversation_a": TALKS["rejected"], "conversation_b": TALKS["chosen"], "winner": "model_b",
    },
    "OpenAI": {
        "input": {"messages": ASKED}, "preferred_output": [SO], "non_preferred_output": [NO],
    },
    "argilla": {"instruction": "Why?", "chosen_response": "So.", "rejected_response": "No."},
}  # fmt: skip


def pair(record: dict[str, Any]) -> Pair:
    row = read(record).row
    assert isinstance(row, Pair)
    return row


@pytest.mark.parametrize("name", PAIRS)
def test_compared_answers_become_pairs(name: str) -> None:
    """And nothing else that trains: detected, the rows are refused for supervised training."""
    assert format_of(PAIRS[name]) == "preference"
    found = pair(PAIRS[name])
    assert (found.prompt, found.chosen, found.rejected) == ((USER,), (GOOD,), (BAD,))


def test_what_stands_before_the_answers_is_read() -> None:
    """Orca's system text, passages, an earlier talk, tools, images, calls of several turns."""
    orca = pair({"system": "Be brief.", "question": "Why?", **SIDES})
    assert orca.prompt == (Turn("system", "Be brief."), USER)
    passage = pair({"question": "Why?", "context": "It rains.", **SIDES})
    assert passage.prompt == (Turn("user", "Why?\n\nIt rains."),)
    earlier = pair({"prompt": "Why?", "history": [["Hm?", "Ha."]], **SIDES})
    assert earlier.prompt == (Turn("user", "Hm?"), Turn("assistant", "Ha."), USER)
    seen = read({"messages": [{"role": "user", "content": "<image>Why?"}], "images": ["a.png"],
                 **SIDES}, "folder").row  # fmt: skip
    assert seen.prompt == (Turn("user", "<image>Why?", images=("folder/a.png",)),)


def test_answers_may_call() -> None:
    """What both do first is the prompt of what they do differently."""
    called = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c", "function": {"name": "tide", "arguments": "{}"}}]}  # fmt: skip
    result = {"role": "tool", "tool_call_id": "c", "content": "low"}
    tools = [{"type": "function", "function": {"name": "tide", "parameters": {}}}]
    found = pair({"prompt": ASKED, "tools": tools, "chosen": [called, result, SO],
                  "rejected": [called, result, NO]})  # fmt: skip
    system, user, call, answer = found.prompt
    assert '"tide"' in system.tools
    assert (user, call.calls, answer) == (
        USER,
        (ToolCall("tide", "{}"),),
        Turn("tool", "low", name="tide"),
    )
    assert (found.chosen, found.rejected) == ((GOOD,), (BAD,))
    apart = pair({"prompt": ASKED, "chosen": [called, result, SO], "rejected": [NO]})
    assert [turn.role for turn in apart.chosen] == ["assistant", "tool", "assistant"]
    assert apart.rejected == (BAD,)
    by_role = pair({
        "conversations": [{"from": "human", "value": "Why?"}],
        "chosen": {"from": "function_call", "value": '{"name": "tide", "arguments": {}}'},
        "rejected": {"from": "gpt", "value": "No."},
    })  # fmt: skip
    assert by_role.chosen == (Turn("assistant", "", calls=(ToolCall("tide", "{}"),)),)


JUDGED: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Why?", "completion": "So.", "label": True},
    "messages": {"messages": [*ASKED, SO], "label": "true"},
    "prompt and completion": {"prompt": ASKED, "completion": [SO], "label": 1},
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}],
        "kto_tag": "desirable",
    },
    "instruction": {"instruction": "Why?", "input": "", "output": "So.", "kto_tag": True},
    "thumbs": {"question": "Why?", "answer": "So.", "rating": 1},
    "twice": {"prompt": "Why?", "completion": "So.", "label": True, "kto_tag": True},
}  # fmt: skip
_UNWANTED = {"label": False, "kto_tag": "undesirable", "rating": -1}


@pytest.mark.parametrize("name", JUDGED)
def test_a_labelled_answer_is_judged(name: str) -> None:
    record = JUDGED[name]
    assert format_of(record) == "preference"
    assert read(record).row == Judged((USER,), (GOOD,), True)
    unwanted = {key: _UNWANTED[key] for key in record.keys() & _UNWANTED.keys()}
    assert read({**record, **unwanted}).row == Judged((USER,), (GOOD,), False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "the same"),
        ({"chosen": HH.format("a"), "rejected": "\n\nHuman: b\n\nAssistant: c"}, "different"),
        ({"chosen": HH.format("a"), "rejected": HH.format("")}, "an empty answer"),
        ({"chosen": "a", "rejected": "b"}, "no transcript of a talk"),
        ({"chosen": [SO], "rejected": [NO]}, "without what was asked"),
        ({"prompt": "What?", **TALKS}, "a prompt that is not in the answers' own talks"),
        ({"prompt": "a", "chosen": 1, "rejected": 2}, "a message that is no object"),
        ({"prompt": "a", "response_0": "b", "response_1": "c", "better_response_id": 2,
          "winner": "tie"}, "judged alike"),
        ({"prompt": "a", "response_a": "b", "response_b": "c", "winner": "tie (bothbad)"}, "alike"),
        ({"context": ASKED, "response1": "a", "response2": "b", "overall_preference": 0}, "alike"),
        ({"instruction": "a", "completions": SCORED[:1] * 2}, "judged alike"),
        ({"prompt": "a", "completion": "b", "label": 1, "kto_tag": 0}, "label and kto_tag"),
        ({"prompt": "a", "completion": "b"}, "judges no answer"),
        ({"prompt": "a", **SIDES, "audio": "a.wav"}, "audio"),
        ({"prompt": ["a"], **SIDES}, "without what was asked"),
    ],
)  # fmt: skip
def test_an_unfit_row_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRow, match=reason):
        read(row)


def test_what_is_not_read_is_told() -> None:
    both = {**PAIRS["PKU"], "safer_response_id": 0, "score": 2, "id": 7}
    assert read(both).unread == ("safer_response_id", "score", "id")
    named = {**PAIRS["explicit messages"], "chosen": [{**SO, "mood": "glad"}]}
    assert read(named).unread == ("a message's mood",)
    assert read({**PAIRS["prompt"], "reasoning": "Since."}).unread == ("reasoning",)
    assert read({**JUDGED["texts"], "score": 2}).unread == ("score",)
    assert all(not read(row).unread for row in JUDGED.values())


REAL = {"dpo_en_sharegpt": 300}
"""Rows that judge answers, and how many of them are pairs."""


@pytest.mark.parametrize("name", REAL)
@pytest.mark.skipif(not FOLDER.is_dir(), reason="GEMMA_BENCH_REAL_ROWS names no folder of rows")
def test_published_rows_are_read(name: str) -> None:
    lines = Path(FOLDER, f"{name}.jsonl").read_text().splitlines()
    found = [pair(json.loads(line)) for line in lines]
    assert len(found) == REAL[name]
    assert all(one.prompt[-1].role == "user" and one.chosen != one.rejected for one in found)
