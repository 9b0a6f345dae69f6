"""Rows in a preview: spans that add up, cuts where they are, prompts that differ where they do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.data.encoding.rendering import Template
from engine.data.encoding.template import template
from engine.data.prepare import Prepared, prepare
from engine.data.preview_rows import PreviewRows, differing, excerpt
from engine.data.row_counts import histogram
from engine.recipe.schema import Data, Source
from engine.sessions.preview import Row

DIALECTS = ("gemma3", "gemma4", "gemma4-large")
EMPTY_THOUGHT = "<|channel>thought\n<channel|>"


@pytest.fixture(scope="module")
def tokenizers(gemma_folder: Callable[[str], Path]) -> dict[str, Any]:
    gemma4 = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    gemma3 = AutoTokenizer.from_pretrained(gemma_folder("gemma3"))
    return {"gemma3": gemma3, "gemma4": gemma4, "gemma4-large": gemma4}


def talk(*said: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(said)
    messages = [{"role": r, "content": s} for r, s in zip(roles, said, strict=False)]
    return {"messages": messages}


def shown(
    folder: Path, tokenizer: Any, chosen: Template, *records: object, **settings: Any
) -> list[Row]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    data = Data(sources=(Source(path=str(path)),), **settings)
    prepared: Prepared = prepare(data, tokenizer, chosen)
    made: PreviewRows = excerpt(tokenizer, chosen)
    return [made.row(prepared, index) for index in range(len(prepared.rows))]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("loss_on", ["assistant", "all"])
def test_spans_add_up_to_the_row(
    dialect: str, loss_on: str, tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    chosen, tokenizer = template(dialect), tokenizers[dialect]
    name = chosen.turn_start
    records = talk(f"What is {name}? 🌰", "A token 한국어"), talk("a", "b", "c", "d")
    for row in shown(tmp_path, tokenizer, chosen, *records, loss_on=loss_on):
        assert "".join(span.text for span in row.spans) == row.text
        assert row.text == tokenizer.decode(row.input_ids)
        assert sum(span.tokens for span in row.spans) == len(row.input_ids)
        at = 0
        for span in row.spans:
            labels = row.labels[at : at + span.tokens]
            assert {label != -100 for label in labels} == {span.is_supervised}
            at += span.tokens
    first = shown(tmp_path, tokenizer, chosen, records[0])[0]
    assert [name in span.text for span in first.spans if span.is_control].count(True) == 2
    assert any(f"What is {name}?" in s.text for s in first.spans if not s.is_control)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_cut_is_where_it_is(dialect: str, tokenizers: dict[str, Any], tmp_path: Path) -> None:
    tokenizer, chosen = tokenizers[dialect], template(dialect)
    long = talk("one", "first " * 5, "two " * 40, "second " * 40, "three", "third")
    (cut,) = shown(tmp_path, tokenizer, chosen, long, max_length=100)
    assert (cut.truncated, cut.cut_at, len(cut.input_ids)) == (True, 100, 100)
    (middle,) = shown(tmp_path, tokenizer, chosen, long, max_length=100, truncation="cut_middle")
    assert middle.cut_at is not None
    before = tokenizer.decode(middle.input_ids[: middle.cut_at])
    assert before.endswith(f"first{chosen.turn_end}\n")
    assert "second" not in middle.text
    assert tokenizer.decode(middle.input_ids[middle.cut_at :]).startswith(chosen.turn_start)
    bounds = [sum(span.tokens for span in middle.spans[:n]) for n in range(len(middle.spans))]
    assert middle.cut_at in bounds
    assert middle.whole_tokens > len(middle.input_ids)


@pytest.mark.parametrize("dialect", DIALECTS[:2])
def test_the_models_own_prompt_begins_what_is_trained(
    dialect: str, tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer, chosen = tokenizers[dialect], template(dialect)
    for row in shown(tmp_path, tokenizer, chosen, talk("a", "b", "c", "d"), talk("<bos>", "e")):
        assert row.is_prompt_a_prefix
        prompt = "".join(span.text for span in row.prompt)
        assert prompt
        assert row.text.startswith(prompt)


def test_thoughts_that_large_models_do_not_see_in_earlier_answers_are_marked(
    tokenizers: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer, chosen = tokenizers["gemma4-large"], template("gemma4-large")
    tokenizer.chat_template = _inference_of_large(template("gemma4").text)
    short, long = shown(tmp_path, tokenizer, chosen, talk("a", "b"), talk("a", "b", "c", "d"))
    assert short.is_prompt_a_prefix
    assert "".join(span.text for span in short.prompt).endswith(EMPTY_THOUGHT)
    assert "".join(span.text for span in long.spans if span.is_different) == EMPTY_THOUGHT
    assert not any(span.is_different for span in long.prompt)
    assert long.text.count(EMPTY_THOUGHT) == 2


def _inference_of_large(text: str) -> str:
    """The prompt of a large model ends with an empty thought, finished turns have none."""
    end = "        {{- '<|turn>model\\n' -}}\n"
    assert end in text
    thought = "{{- '<|channel>thought\\n<channel|>' -}}\n"
    return text.replace(end, end + thought)


def test_a_difference_is_marked_on_both_sides(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    tokenizer, chosen = tokenizers["gemma4"], template("gemma4")
    own = replace(chosen, text=chosen.text.replace("<|turn>model", "<|turn>the model"))
    tokenizer = _copy(tokenizer, own.text)
    (row,) = shown(tmp_path, tokenizer, chosen, talk("a", "b"))
    assert not row.is_prompt_a_prefix
    assert any(span.is_different and "the" in span.text for span in row.prompt)


def test_what_has_no_prompt_says_so(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    chosen = template("gemma4")
    (row,) = shown(tmp_path, tokenizers["gemma4"], chosen, {"text": "bare"})
    assert (row.prompt, row.prompt_error, row.is_prompt_a_prefix) == ((), "", True)
    failing = _copy(tokenizers["gemma4"], "{{ raise_exception('not today') }}")
    (row,) = shown(tmp_path, failing, chosen, talk("a", "b"))
    assert (row.prompt, row.prompt_error) == ((), "not today")


def _copy(tokenizer: Any, own: str) -> Any:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = own
    return other


@pytest.mark.parametrize(
    ("row", "prompt", "left", "right"),
    [
        ([1, 9, 2, 3, 4], [1, 9, 2], [], []),
        ([1, 7, 9, 2, 3], [1, 9, 2], [1], []),
        ([1, 9, 2, 3], [1, 7, 8, 9, 2], [], [1, 2]),
        ([1, 5, 9, 2, 3], [1, 6, 9, 2], [1], [1]),
        ([1, 5, 9], [], [], []),
        ([1, *[5] * 3000, 9, 2], [1, *[6] * 3000, 9], range(1, 3001), range(1, 3001)),
    ],
)
def test_differences_are_found(
    row: list[int], prompt: list[int], left: list[int], right: list[int]
) -> None:
    marks = differing(row, prompt, 9)
    assert [[i for i, mark in enumerate(side) if mark] for side in marks] == [[*left], [*right]]
    assert [len(side) for side in marks] == [len(row), len(prompt)]


@pytest.mark.parametrize(
    ("lengths", "p95", "bins"),
    [
        ([1, 1, 2], 2, [[1, 2], [2, 1]]),
        ([5, 30, 31, 900], 31, [[5, 1], [10, 0], [15, 0], [20, 0], [25, 0], [30, 1], [35, 1],
                                [40, 0], [45, 0], [900, 1]]),
    ],
)  # fmt: skip
def test_lengths_are_counted_in_round_bins(
    lengths: list[int], p95: int, bins: list[list[int]]
) -> None:
    import numpy as np

    assert histogram(np.array(lengths), p95) == tuple(map(tuple, bins))
