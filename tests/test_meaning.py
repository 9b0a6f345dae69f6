"""What a row says beside its format's own keys: read, refused by name, or told as unread."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.data import checks, conversation
from engine.data.conversation import Turn, UnusableRow
from engine.data.formats import advice, chat_marks, meaning
from engine.problems import Refusal
from tests import command
from tests.prepared_rows import FRUIT, supervised, talk, text
from tools import write_row_formats


def thinking(name: str, value: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "6 times 7?"},
                         {"role": "assistant", "content": "42.", name: value}]}  # fmt: skip


@pytest.mark.parametrize("name", meaning.THOUGHTS)
def test_a_thought_is_one_under_any_name(name: str, rows: Any) -> None:
    value: object = "Six sevens."
    if name == "reasoning_details":
        value = [{"type": "reasoning.text", "text": "Six sevens."}]
    same = rows(thinking("reasoning_content", "Six sevens."))
    assert rows(thinking(name, value)).rows[0].ids == same.rows[0].ids
    empty = rows(thinking(name, None))
    assert len(empty.rows[0].ids) < len(same.rows[0].ids)
    with pytest.raises(Refusal, match="a thought in the answer"):
        rows(thinking(name, value), thinking="refuse")
    assert rows(thinking(name, value), thinking="strip").rows[0].ids == empty.rows[0].ids


def test_a_thought_may_be_a_part_of_the_content(rows: Any) -> None:
    parts = [{"type": "thinking", "thinking": "Six sevens."}, {"type": "text", "text": "42."}]
    row = {"messages": [{"role": "user", "content": "6 times 7?"},
                        {"role": "assistant", "content": parts}]}  # fmt: skip
    assert rows(row).rows[0].ids == rows(thinking("thinking", "Six sevens.")).rows[0].ids
    parts[0] = {"type": "tool_use", "name": "multiply"}
    with pytest.raises(Refusal, match=r"neither text nor image \(tool_use\)"):
        rows(row)


@pytest.mark.parametrize("said", ["<think>Six sevens.</think>42.", "Six sevens.</think>\n\n42."])
def test_a_thought_in_the_words_is_one_too(said: str, rows: Any) -> None:
    """With both of its marks, or with the last alone, where the template has a place for it."""
    row = {"question": "6 times 7?", "answer": said}
    assert rows(row).rows[0].ids == rows(thinking("reasoning", "Six sevens.")).rows[0].ids
    talk = (Turn("user", "6 times 7?"), Turn("assistant", "Six sevens.</think>42."))
    with pytest.raises(UnusableRow, match="template has no place") as refused:
        conversation.thinking(talk, "keep", has_channel=False)
    assert advice.of_drops({str(refused.value)}) == 'Set data.thinking = "strip"'
    stripped = conversation.thinking(talk, "strip", has_channel=False)
    assert stripped == (talk[0], Turn("assistant", "42."))


def test_a_mark_without_its_other_one_is_named(rows: Any) -> None:
    with pytest.raises(Refusal, match=r"a thought that is not closed \(<think>\)"):
        rows({"question": "6 times 7?", "answer": "<think>Six"})
    call = {"from": "gpt", "value": '<tool_call>{"name": "tide_at"'}
    with pytest.raises(Refusal, match=r"a tool call that is not closed \(<tool_call>\)"):
        rows({"conversations": [{"from": "human", "value": "Tide?"}, call]})


def test_a_column_with_a_thought_comes_before_the_answer(rows: Any, tokenizer: Any) -> None:
    prepared = rows({"question": "6 times 7?", "reasoning": "Six sevens.", "answer": "42."})
    assert prepared.rows[0].ids == rows(thinking("thought", "Six sevens.")).rows[0].ids


THOUGHTFUL = {
    "messages": [
        {"role": "user", "content": "6 times 7?"},
        {"role": "assistant", "thinking": "Six sevens.", "content": "It is 42."},
        {"role": "user", "content": "6 times 8?"},
        {"role": "assistant", "thinking": "Six eights.", "content": "It is 48."},
    ]
}


def test_an_answer_whose_thought_is_left_out_carries_no_loss(rows: Any, tokenizer: Any) -> None:
    prepared = rows(THOUGHTFUL)
    assert "Six sevens" not in text(prepared, tokenizer)
    said = supervised(prepared, tokenizer)
    assert "Six eights" in said
    assert "It is 48" in said
    assert "It is 42" not in said
    (source,) = prepared.sources
    assert source.noted == {
        "an earlier answer without loss, since the template leaves its thought out": 1
    }


def test_a_row_for_each_answer_keeps_every_thought(rows: Any, tokenizer: Any) -> None:
    prepared = rows(THOUGHTFUL, thinking="each")
    said = [supervised(prepared, tokenizer, n) for n in range(2)]
    assert len(prepared.rows) == 2
    assert ["Six sevens" in one for one in said] == [True, False]
    assert ["Six eights" in one for one in said] == [False, True]
    assert "It is 42" not in said[1]
    plain = rows(talk({}, {}, {}, {}), thinking="each")
    assert len(plain.rows) == 1


@pytest.mark.parametrize("name", meaning.PASSAGES)
def test_a_passage_joins_the_question(name: str, rows: Any) -> None:
    asked = {"instruction": "Who ruled?", "input": "Kanishka ruled.", "output": "Kanishka."}
    told = {"instruction": "Who ruled?", name: "Kanishka ruled.", "output": "Kanishka."}
    assert rows(told).rows[0].ids == rows(asked).rows[0].ids
    assert rows({**told, name: ""}).rows[0].ids == rows({**asked, "input": ""}).rows[0].ids
    with pytest.raises(Refusal, match=f"a {name.removesuffix('s')} that is no text"):
        rows({**told, name: {"title": "Kushan"}})


@pytest.mark.parametrize(
    "history",
    [
        [["Name a fruit.", "A quince."]],
        FRUIT,
        [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "A quince."}],
    ],
)
def test_a_history_comes_first(history: object, rows: Any) -> None:
    row = {"instruction": "Another?", "output": "A fig.", "history": history, "system": "Be brief."}
    brief = {"role": "system", "content": "Be brief."}
    whole = [
        brief,
        *FRUIT,
        *({**a, "content": b} for a, b in zip(FRUIT, ("Another?", "A fig."), strict=True)),
    ]
    assert rows(row).rows[0].ids == rows({"messages": whole}).rows[0].ids


def test_choices_with_letters_of_their_own(rows: Any, tokenizer: Any) -> None:
    row = {"question": "Which?", "choices": {"text": ["red", "blue"], "label": ["A", "B"]},
           "answer": "B"}  # fmt: skip
    assert "Which?\n\nA. red\nB. blue" in text(rows(row), tokenizer)


@pytest.mark.parametrize("judged", [{"label": 0}, {"label": "False"}, {"kto_tag": False},
                                    {"rating": "0"}, {"label": False}, {"label": "undesirable"},
                                    {"label": -1}, {"is_correct": False}])  # fmt: skip
def test_an_unwanted_answer_is_never_trained_on(judged: dict[str, Any], rows: Any) -> None:
    """Refused where no format is named; where one is, the wanted rows alone are trained on."""
    (name,) = judged
    bad = {"prompt": "Greet.", "completion": "Go.", **judged}
    good = {"prompt": "Greet.", "completion": "Good day.", name: 1}
    with pytest.raises(Refusal, match=f"by column {name}") as refused:
        rows(bad, good)
    (advised,) = re.findall(r'format = "(\w+)"', str(refused.value))
    prepared = rows(bad, good, format=advised)
    assert prepared.dropped == {f"an answer that column {name} marks as unwanted": 1}
    assert prepared.examples[0].turns[-1].content == "Good day."


GO = {"role": "assistant", "content": "Go."}


@pytest.mark.parametrize(
    ("records", "judgements"),
    [
        (
            [{"prompt": "Greet.", "chosen": "Good day.", "rejected": "Go."},
             {"prompt": "Greet.", "chosen": "Go.", "rejected": "Go."}],
            "of the first 2, 1 with a better and a worse answer; "
            "not read: 1 x chosen and rejected are the same",
        ),
        (
            [{"body": "No row of the kind."},
             *({"prompt": "Greet.", "completion": "Go.", "label": n} for n in (0, 0, 1))],
            "of the first 4, 2 with an unwanted answer and 1 with a wanted answer; "
            "not read: 1 x a row that judges no answer",
        ),
        ([{"chosen": "b", "rejected": "a"}] * 2, "of the first 2, none can be read; not read: 2 x "
         "answers without what was asked, and no transcript of a talk"),
    ],
)  # fmt: skip
def test_what_a_file_of_judgements_holds_is_said(
    records: list[dict[str, Any]], judgements: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    for more in ((), ("--json",)):
        code, out, err = command.call(tmp_path, "preview", path.name, *more)
        assert (code, out) == (2, "")
        assert f"no rows for supervised training ({judgements})" in err


ADVISED = re.compile(r'format = "(\w+)"(?: and columns = (\{[^}]*\}))?')


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Greet.", "chosen": "Good day.", "rejected": "Go."},
        {"question": "Greet.", "chosen": "Good day.", "rejected": "Go."},
        {"chosen": FRUIT, "rejected": [*FRUIT[:1], {"role": "assistant", "content": "Go."}]},
        {"prompt": "Name a fruit.", "chosen": FRUIT, "rejected": FRUIT[:1]},
        {"prompt": "Name a fruit.", "chosen": FRUIT[1:], "rejected": [GO]},
        {"prompt": FRUIT[:1], "chosen": FRUIT[1:], "rejected": [GO]},
        {"instruction": "Greet.", "chosen_response": "Good day.", "rejected_response": "Go."},
        {"question": "Greet.", "response_j": "Good day.", "response_k": "Go."},
        {
            "conversations": [{"from": "human", "value": "Greet."}],
            "chosen": {"from": "gpt", "value": "Hi."},
            "rejected": {"from": "gpt", "value": "Go."},
        },
        {
            "input": {"messages": FRUIT[:1]},
            "preferred_output": FRUIT[1:],
            "non_preferred_output": [GO],
        },
        {"chosen": "Good day.", "rejected": "Go."},
        {"chosen": "Good day.", "rejected": ""},
        {"instruction": "Name a fruit.", "input": "Of two.", "output": "A quince.", "label": 1},
        {"text": "A fine film.", "label": "good"},
        {"query": "Name a fruit.", "reply": "A quince.", "n": 3},
        {"summary": "Short.", "article": "A long text."},
        {"body": "Bare words."},
        {"conversation_id": "a", "conversation": FRUIT, "model": "b", "turn": 1},
        {"id": "a", "talk": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b."}]},
        {"id": "a", "lang": "en", "utterance": "Fruit?", "said": "A quince."},
        {"document": "Words.", "n": 1},
        {"context": "It rains.", "title": "Rain", "query": "Why?", "answers": "So."},
    ],
    ids=lambda row: "-".join(row),
)
def test_every_advice_works_as_it_stands(row: dict[str, Any], rows: Any) -> None:
    with pytest.raises(Refusal) as refused:
        rows(row)
    advices = ADVISED.findall(str(refused.value))
    assert advices
    for name, columns in advices:
        mapped = tomllib.loads(f"columns = {columns or '{}'}")["columns"]
        prepared = rows(row, format=name, columns=mapped)
        assert len(prepared.rows) == 1


def test_files_of_paragraphs_say_which_row_to_write(rows: Any) -> None:
    asked = {"context": "Kanishka ruled.", "question": "Who ruled?"}
    answers = [{"text": "Kanishka", "answer_start": 0}]
    nested = {"title": "Kushan", "paragraphs": [{**asked, "qas": [{"answers": answers}]}]}
    with pytest.raises(Refusal, match="with context, question and answer"):
        rows(nested)
    plain = rows({**asked, "answer": "Kanishka"})
    assert rows({**asked, "answers": answers}).rows[0] == plain.rows[0]


def test_of_compared_answers_the_better_one_alone_carries_loss(rows: Any, tokenizer: Any) -> None:
    """What was said before it was not compared; columns that are not read are told."""
    whole = talk({}, {}, {}, {})
    said = [{"from": "human" if one["role"] == "user" else "gpt", "value": one["content"]}
            for one in whole["messages"]]  # fmt: skip
    row = {"conversations": said[:3], "chosen": said[3], "rejected": {**said[1]}, "margin": 2}
    prepared = rows(row, format="chosen")
    assert prepared.rows[0].ids == rows(whole).rows[0].ids
    assert supervised(prepared, tokenizer) == "Good day.<turn|>\n"
    assert prepared.sources[0].unread == {"margin": 1}
    mixed = rows(row, {"prompt": "p", "completion": "c"}, format="chosen")
    assert mixed.dropped == {"a row that compares no answers": 1}


def test_where_length_is_no_reason_length_is_no_advice(rows: Any) -> None:
    with pytest.raises(Refusal, match=r"Mend the rows$"):
        rows({"question": "What?", "answer": ""})
    with pytest.raises(Refusal, match=r"Raise data\.max_length$"):
        rows({"question": "word " * 60, "answer": "That."}, max_length=16)


TEMPLATED = {
    "<start_of_turn>": "<bos><start_of_turn>user\nName a fruit.<end_of_turn>\n"
    "<start_of_turn>model\nA quince.<end_of_turn>\n",
    "<|turn>": "<bos><|turn>user\nName a fruit.<turn|>\n<|turn>model\nA quince.<turn|>\n",
    "<|im_start|>": "<|im_start|>user\nName a fruit.<|im_end|>\n"
    "<|im_start|>assistant\nA quince.<|im_end|>",
    "<|start_header_id|>": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    "Name a fruit.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA quince.<|eot_id|>",
    "<|assistant|>": "<|user|>\nName a fruit.</s>\n<|assistant|>\nA quince.</s>",
    "<｜Assistant｜>": "<｜begin▁of▁sentence｜><｜User｜>Name a fruit.<｜Assistant｜>A quince."
    "<｜end▁of▁sentence｜>",
    "<|start|>": "<|start|>user<|message|>Name a fruit.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>A quince.<|return|>",
    "### Assistant:": "### Human: Name a fruit.### Assistant: A quince.",
    "<bot>:": "<human>: Name a fruit.\n<bot>: A quince.",
    "[INST]": "<s>[INST] Name a fruit. [/INST] A quince. </s>",
    "### Response:": "### Instruction:\nName a fruit.\n\n### Response:\nA quince.",
}


@pytest.mark.parametrize("mark", TEMPLATED)
def test_text_that_holds_a_template_is_read_as_turns(mark: str, rows: Any, tokenizer: Any) -> None:
    row = {"text": TEMPLATED[mark]}
    prepared = rows(row)
    assert prepared.rows[0].ids == rows({"messages": FRUIT}).rows[0].ids
    assert [*prepared.sources[0].noted] == ["turns told from a chat template's marks in the text"]
    bare = rows(row, format="text")
    assert bare.examples[0].turns[0].role == "text"
    broken = {"text": f"Something before. {TEMPLATED[mark]}"}
    if mark != "### Response:":
        with pytest.raises(Refusal, match=re.escape(f"marks ({mark}) and no whole turns")):
            rows(broken)


@pytest.mark.parametrize("mark", TEMPLATED)
def test_a_message_that_holds_a_template_is_refused_by_its_mark(mark: str, rows: Any) -> None:
    asked, answer, _ = re.split(r"(A quince\.)", TEMPLATED[mark])
    assert (
        rows({"prompt": asked, "completion": answer}).rows[0] == rows({"messages": FRUIT}).rows[0]
    )
    messages = [{**FRUIT[0], "content": TEMPLATED[mark]}, FRUIT[1]]
    with pytest.raises(Refusal, match=re.escape(f"holds a chat template's marks ({mark})")):
        rows({"messages": messages})
    quoted = [{**FRUIT[0], "content": f"What is this?\n```\n{TEMPLATED[mark]}\n```"}, FRUIT[1]]
    assert len(rows({"messages": quoted}).rows) == 1


@pytest.mark.parametrize(
    ("row", "plain", "noted"),
    [
        ({"text": "Human: Name a fruit.\n\nAssistant: A quince."}, FRUIT, chat_marks.NOTED_MARKS),
        ({"prompt": "\n\nHuman: Name a fruit.\n\nAssistant:", "completion": " A quince."}, FRUIT,
         chat_marks.NOTED_MARKS),
        ({"text": "<|prompter|>Name a fruit.<|endoftext|><|assistant|>A quince.<|endoftext|>"},
         FRUIT, chat_marks.NOTED_MARKS),
        ({"prompt": "Name a fruit.", "completion": "A quince.<|im_end|>"},
         [FRUIT[0], {**FRUIT[1], "content": "A quince.<|im_end|>"}], checks.NOTED_FOREIGN),
        ({"prompt": "Name a fruit.", "completion": "<thinking>Q</thinking>A quince."},
         [FRUIT[0], {**FRUIT[1], "thinking": "Q"}], None),
        ({"prompt": "Name a fruit.", "completion": "<|begin_of_thought|>Q<|end_of_thought|>\n"
         "<|begin_of_solution|> A quince. <|end_of_solution|>"},
         [FRUIT[0], {**FRUIT[1], "thinking": "Q"}], None),
        ({"messages": {"role": ["user", "assistant"], "content": ["Name a fruit.", "A quince."]}},
         FRUIT, None),
        ({"messages": [{**one, "content": [{"text": one["content"]}]} for one in FRUIT],
          "system": [{"text": "Be brief."}]},
         [{"role": "system", "content": "Be brief."}, *FRUIT], None),
        ({"prompt": "Name", "passages": ["a", "fruit."], "completion": "A quince."},
         [{**FRUIT[0], "content": "Name\n\na\n\nfruit."}, FRUIT[1]], None),
        ({"prompt": "Name", "options": {"A": "a", "B": "b"}, "completion": "A quince."},
         [{**FRUIT[0], "content": "Name\n\nA. a\nB. b"}, FRUIT[1]], None),
    ],
)  # fmt: skip
def test_neighbours_of_what_is_read_are_read_too(
    row: dict[str, Any], plain: list[dict[str, Any]], noted: str | None, rows: Any
) -> None:
    prepared = rows(row)
    assert prepared.rows[0] == rows({"messages": plain}).rows[0]
    assert [*prepared.sources[0].noted] == ([noted] if noted else [])
    assert prepared.sources[0].unread == {}


def test_what_is_beside_words_of_a_template_is_refused_and_a_second_answer_told(rows: Any) -> None:
    templated = {"prompt": "<|user|>\nFruit?\n<|assistant|>\n", "completion": "A quince."}
    with pytest.raises(Refusal, match="went through a chat template, beside context"):
        rows({**templated, "context": "Of two."})
    prepared = rows({"question": "Fruit?", "response": "A quince.", "answer": "Quince"})
    assert prepared.sources[0].unread == {"answer": 1}
    with pytest.raises(Refusal, match="a thought that is not closed"):
        rows({"prompt": "Fruit?", "completion": "<thinking>A quince."})
    named = [{**FRUIT[0], "name": "Ann"}, FRUIT[1]]
    assert rows({"messages": named}).sources[0].unread == {"a message's name": 1}


def test_rows_of_other_splits_by_their_own_column_are_left_out(rows: Any) -> None:
    row = {"prompt": "Fruit?", "completion": "A quince."}
    kept = rows({**row, "split": "train"}, {**row, "prompt": "Which?", "split": "Dev"},
                {**row, "prompt": "One?", "split": "a"})  # fmt: skip
    assert len(kept.rows) == 2
    assert kept.dropped == {"a row of the split validation, by its own column": 1}
    with pytest.raises(Refusal, match='Give the source split = "all"'):
        rows({**row, "split": "test"})
    assert len(rows({**row, "split": "test"}, split="all").rows) == 1


def test_conversational_prompts_and_lists_of_what_is_said(rows: Any, tokenizer: Any) -> None:
    whole = rows({"messages": FRUIT}).rows[0]
    row = {"prompt": FRUIT[:1], "completion": FRUIT[1:]}
    assert rows(row).rows[0] == whole
    assert rows({"prompt": FRUIT[:1], "completion": FRUIT[1]}).rows[0] == whole
    assert rows({"data": ["Name a fruit.", "A quince."], "id": "7"}).rows[0] == whole
    assert rows({"conversations": ["Name a fruit.", "A quince."]}).rows[0] == whole
    earlier = {"prompt": [*FRUIT, {"role": "user", "content": "Another?"}],
               "completion": [{"role": "assistant", "content": "A fig."}]}  # fmt: skip
    assert supervised(rows(earlier), tokenizer) == "A fig.<turn|>\n"


@pytest.mark.parametrize("name", ["audio", "audios", "video", "videos"])
def test_what_can_not_be_heard_is_refused(name: str, rows: Any) -> None:
    with pytest.raises(Refusal, match=f"in column {name}, which is not trained on"):
        rows({"messages": FRUIT, name: ["a.wav"]})
    assert len(rows({"messages": FRUIT, name: []}).rows) == 1


def test_messages_may_name_their_keys_either_way(rows: Any) -> None:
    whole = rows({"messages": FRUIT}).rows[0]
    by_value = [{"from": "human", "value": FRUIT[0]["content"]},
                {"from": "gpt", "value": FRUIT[1]["content"]}]  # fmt: skip
    assert rows({"conversations": FRUIT}).rows[0] == whole
    assert rows({"messages": by_value}).rows[0] == whole


@pytest.mark.parametrize("role", ["User", "HUMAN", " user ", "Prompter"])
def test_roles_are_read_in_any_case(role: str, rows: Any) -> None:
    row = {"messages": [{**FRUIT[0], "role": role}, {**FRUIT[1], "role": "AI"}]}
    assert rows(row).rows[0] == rows({"messages": FRUIT}).rows[0]


def test_what_is_not_read_is_told_by_preview(tmp_path: Path) -> None:
    row = {"messages": [{**FRUIT[0], "mood": "calm"}, FRUIT[1]], "id": 7, "persona_of": "Ann"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "mine.toml").write_text('[data]\nsources = [{ path = "rows.jsonl" }]\n')
    code, out, err = command.call(tmp_path, "preview", "mine.toml", "--json")
    assert (code, err) == (0, "")
    (source,) = json.loads(out)["sources"]
    assert source["unread"] == {"persona_of": 1, "a message's mood": 1}
    assert source["harmless"] == {"id": 1}
    code, out, _ = command.call(tmp_path, "preview", "mine.toml")
    assert "not read: persona_of, in 1 row" in out
    assert "not trained on, since it only describes rows: id\n" in out


TREE = {"text": "Name a fruit.", "role": "prompter", "replies": [
    {"text": "Pear.", "role": "assistant", "rank": 1, "replies": []},
    {"text": "Go.", "role": "assistant", "rank": 0, "deleted": True, "replies": []},
    {"text": "A quince.", "role": "assistant", "rank": 0, "emojis": {"+1": 2}, "replies": [
        {"text": "Thanks!", "role": "prompter", "replies": []}]},
]}  # fmt: skip


def test_of_a_tree_the_best_replies_are_a_talk(rows: Any) -> None:
    prepared = rows({"message_tree_id": "a", "tree_state": "ready", "prompt": TREE})
    assert prepared.rows[0].ids == rows({"messages": FRUIT}).rows[0].ids
    assert prepared.sources[0].unread == {
        "message_tree_id": 1, "tree_state": 1, "a message's emojis": 1,
        "a message's replies that are ranked lower": 1,
    }  # fmt: skip
    with pytest.raises(Refusal, match="replies that are no list of messages"):
        rows({"prompt": {**TREE, "replies": ["b"]}})


def test_the_page_of_formats_is_the_engine_s() -> None:
    """Written by `python -m tools.write_row_formats`."""
    text = write_row_formats.PAGE.read_text("utf-8")
    assert text == write_row_formats.page(text)
