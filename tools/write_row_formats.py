"""Write the tables of row formats in docs/data.md: `python -m tools.write_row_formats`.

Columns are those that the formats declare; what is refused are the engine's own words about a row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.conversation import UnusableRow
from engine.data.formats import preference
from engine.data.formats.comparisons import COMPARISONS
from engine.data.formats.meaning import THOUGHTS
from engine.data.formats.registry import FORMATS, read
from tools import written_part

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
BEGIN, END = "<!-- python -m tools.write_row_formats -->\n", "<!-- end of formats -->\n"
BEGIN_JUDGED, END_JUDGED = "<!-- rows that judge answers -->\n", "<!-- end of judgements -->\n"
_USER = {"role": "user", "content": "a"}
_ANSWER = {"role": "assistant", "content": "b"}


@dataclass(frozen=True)
class RowFormat:
    """One line of the table; each of `refused` is a row of the format's own columns."""

    read: str
    refused: tuple[dict[str, Any], ...]


_ANSWERED = (
    "the question, passages and choices after it, what was said before, a thought; an answer, of "
    "several right ones the first (SQuAD)"
)
FORMATS_SAID: dict[str, RowFormat] = {
    "messages": RowFormat(
        "a list of messages with `role` and `content` (text or parts), `tool_calls` or "
        "`function_call`, a thought, `weight` from 0 to 1; of gpt-oss with `channel`",
        (
            {"messages": [_USER, {**_ANSWER, "channel": "analysis"}]},
            {"messages": [_USER]},
            {"messages": [_USER, {**_ANSWER, "weight": 2}]},
            {"messages": [_USER, _ANSWER], "audio": "a.wav"},
            {"messages": [_USER, _ANSWER], "label": 0},
        ),
    ),
    "sharegpt": RowFormat(
        "the same with `from` and `value`; calls as turns, or as Hermes and ToolACE write them",
        ({"conversations": [{"from": "narrator", "value": "a"}]},),
    ),
    "instruction_input_output": RowFormat(
        _ANSWERED, ({"instruction": "a", "input": "", "output": 7},)
    ),
    "instruction_output": RowFormat(_ANSWERED, ({"instruction": "a", "output": ""},)),
    "question_response": RowFormat(
        _ANSWERED, ({"question": "a", "answer": "b", "context": {"title": "c"}},)
    ),
    "prompt_completion": RowFormat(
        f"{_ANSWERED}; or two lists of messages, of which the second carries loss",
        ({"prompt": "a", "completion": "b", "kto_tag": False},),
    ),
    "reply_tree": RowFormat(
        "a tree of replies under `prompt` (Open Assistant's files of trees), or messages in rows "
        "of their own, joined by `message_id` and `parent_id`: of each message the best-ranked "
        "reply; others are told as not read",
        ({"prompt": {"text": "a", "role": "prompter", "replies": []}},),
    ),
    "alternating": RowFormat(
        "a list of what user and assistant say by turns (UltraChat, LIMA)", ({"data": ["a"]},)
    ),
    "xlam": RowFormat(
        "a question, functions and the calls that answer it, lists or JSON text",
        ({"query": "a", "answers": "none", "tools": "[]"},),
    ),
    "glaive": RowFormat(
        "a talk as one text, its functions at the end of the system text",
        ({"system": "{", "chat": "USER: a"},),
    ),
    "gemini": RowFormat(
        "what Google tunes Gemini on: contents with parts of text, thoughts, images, calls and "
        "their results; an instruction, and functions",
        (
            {"contents": [{"role": "user", "parts": [{"executableCode": {"code": "1"}}]}]},
            {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
        ),
    ),
    "nemotron_persona": RowFormat(
        "descriptions of a person, asked for by fixed questions",
        ({"persona": "a", "professional_persona": ""},),
    ),
    "usr_bot": RowFormat(
        "a text with `<usr>`, `<bot>` and `<sys>`", ({"text": "a <usr> b <bot> c"},)
    ),
    "title_text": RowFormat("an article answers its title", ({"title": "a", "text": None},)),
    "text": RowFormat(
        "bare text, trained on whole; where it holds a chat template's marks, its turns",
        ({"text": "a <|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\nc<|im_end|>"},),
    ),
    "chosen": RowFormat(
        "where it is named alone: the better answer of rows that compare answers, in every shape "
        "below; what was said before it carries no loss",
        ({"prompt": "a", "completion": "b"}, {"chosen": "b", "rejected": "c"}),
    ),
}


_SIDES = {"chosen": "b", "rejected": "c"}
JUDGED_SAID: dict[str, RowFormat] = {
    "chosen_rejected": RowFormat(
        "`chosen` and `rejected`, `chosen_response` and `rejected_response`, `preferred_output` "
        "and `non_preferred_output` (OpenAI's, beside `input`), `response_j` and `response_k`: "
        "texts, messages, whole talks of which the common beginning is the prompt, or transcripts "
        "with `Human:` and `Assistant:`",
        (
            {"prompt": "a", "chosen": "b", "rejected": "b"},
            {"prompt": "a", "chosen": "b", "rejected": ""},
            {**_SIDES},
            {"prompt": "a", "chosen": [_USER, _ANSWER], "rejected": [_USER, _ANSWER, _USER]},
        ),
    ),
    "two_answers": RowFormat(
        "`response_0` and `response_1` with `better_response_id`, else `safer_response_id`; "
        "`human_ref_A` and `human_ref_B` with `labels` (SHP); `response1` and `response2` with "
        "`overall_preference`; `answer_0` and `answer_1` with `score_0` and `score_1`; "
        "`conversation_a` and `conversation_b`, or `response_a` and `response_b`, with `winner`",
        ({"prompt": "a", "response_a": "b", "response_b": "c", "winner": "tie"},),
    ),
    "scored_answers": RowFormat(
        "`completions`, `responses`, `generations`, `answers` or `candidates`: objects with a "
        "score or a rank (UltraFeedback, Nectar), or texts beside `scores` or `ratings`. The pair "
        "is the best and the worst, the first of each",
        ({"prompt": "a", "responses": ["b", "c"], "scores": [1, 1]},),
    ),
    "a label": RowFormat(
        "any format above with `label`, `kto_tag`, `rating`, `feedback`, `desirable`, `correct` or "
        "the like: yes or no in any spelling, or -1. What follows the last question is judged",
        ({"prompt": "a", "completion": "b", "label": 1, "kto_tag": 0},),
    ),
}


def judged_table() -> str:
    """The table of rows that judge answers, in Markdown."""
    assert {*JUDGED_SAID} == {*COMPARISONS, "a label"}
    lines = ["| shape | what is read | what is no use |", "|---|---|---|"]
    for name, said in JUDGED_SAID.items():
        refused = "; ".join(_unfit(row) for row in said.refused)
        lines.append(f"| {name.replace('_', ' ')} | {said.read} | {refused} |")
    return "\n".join(lines) + "\n"


def _unfit(row: dict[str, Any]) -> str:
    try:
        preference.read(row)
    except UnusableRow as reason:
        return str(reason)
    raise ValueError(f"{row} is read")


def table() -> str:
    """The table in Markdown."""
    lines = ["| format | columns | what is read | what drops a row |", "|---|---|---|---|"]
    for name, form in FORMATS.items():
        said = FORMATS_SAID[name]
        names = [f"`{column}`" for column in sorted(form.columns - {*THOUGHTS})]
        names += ["a thought's"] if {*THOUGHTS} <= form.columns else []
        columns = ", ".join(names)
        refused = "; ".join(_refusal(name, row) for row in said.refused)
        lines.append(f"| `{name}` | {columns} | {said.read} | {refused} |")
    return "\n".join(lines) + "\n"


def _refusal(name: str, row: dict[str, Any]) -> str:
    try:
        read(row, name)
    except UnusableRow as reason:
        return str(reason).replace("|", "\\|")
    raise ValueError(f"{row} is read")


def page(text: str) -> str:
    """A page with the tables that it holds made anew."""
    text = written_part.renewed(text, BEGIN, table(), END)
    return written_part.renewed(text, BEGIN_JUDGED, judged_table(), END_JUDGED)


if __name__ == "__main__":
    written_part.write(PAGE, page)
