"""Files to tokens: every row is trained on or accounted for, with its place in the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.encoding.tokens import IGNORED, labels
from engine.data.prepare import Prepared, prepare
from engine.problems import Refusal
from engine.recipe.schema import Data, Filter, Source


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def written(path: Path, *records: object) -> Path:
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n")
    return path


def prepared(path: Path, tokenizer: Any, **settings: Any) -> Prepared:
    data = Data(sources=(Source(path=str(path)),), **settings)
    return prepare(data, tokenizer, template("gemma4"))


def row(asked: str, said: str) -> dict[str, str]:
    return {"question": asked, "answer": said}


def test_rows_left_out_are_counted_by_reason_and_place(tmp_path: Path, tokenizer: Any) -> None:
    path = written(
        tmp_path / "rows.jsonl",
        row("What?", "That."),
        row("Empty?", ""),
        {"question": "Number?", "answer": 7},
        {"other": "columns"},
        row("word " * 60, "never reached"),
        row("Who?", "She. " * 60),
    )
    result = prepared(path, tokenizer, max_length=40)
    assert result.dropped == {
        "an empty answer": 1,
        "content that is not text": 1,
        "columns are not those of question_response": 1,
        "no token with loss within max_length": 1,
    }
    (account,) = result.sources
    assert account.first_dropped["an empty answer"] == f"{path}:2"
    assert (account.quota, account.num_taken, account.truncated_share) == (6, 2, 0.5)
    assert account.tokens.max > 60
    assert [example.where for example in result.examples] == [f"{path}:1", f"{path}:6"]
    assert [r.is_truncated for r in result.rows] == [False, True]
    assert max(len(r.ids) for r in result.rows) == 40
    assert all(len(r.ids) == len(r.labels) for r in result.rows)
    assert result.tokens == sum(len(r.ids) for r in result.rows)
    assert result.supervised_tokens == sum(r.supervised for r in result.rows)


def test_no_row_left_is_refused_with_reasons(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", row("Empty?", ""), row("Also?", " "))
    with pytest.raises(Refusal, match=r"2 x an empty answer \(first: .*rows.jsonl:1\)"):
        prepared(path, tokenizer)


def test_unknown_columns_are_refused_with_the_known_formats(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", {"a": 1, "b": 2})
    with pytest.raises(
        Refusal, match=r"columns a \(number\), b \(number\)\. Known formats: messages, sharegpt"
    ):
        prepared(path, tokenizer)


def test_the_fingerprint_follows_the_tokens(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "a.jsonl", row("What?", "That."))
    same = written(tmp_path / "b.jsonl", row("What?", "That."))
    other = written(tmp_path / "c.jsonl", row("What?", "This."))
    assert prepared(path, tokenizer).fingerprint == prepared(same, tokenizer).fingerprint
    assert prepared(path, tokenizer).fingerprint != prepared(other, tokenizer).fingerprint
    masked = prepared(path, tokenizer, loss_on="all")
    assert masked.fingerprint != prepared(path, tokenizer).fingerprint


def test_loss_on_the_last_turn_leaves_the_earlier_ones_out() -> None:
    ids = [2, 105, 9, 106, 105, 5, 106, 105, 9, 106, 105, 6, 106]
    mask = [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1]
    assert [i for i in labels(ids, mask, 105, "assistant") if i != IGNORED] == [5, 106, 6, 106]
    assert [i for i in labels(ids, mask, 105, "last") if i != IGNORED] == [6, 106]
    assert labels(ids, mask, 105, "all") == [IGNORED, *ids[1:]]


def test_the_completion_is_all_that_follows_the_last_prompt() -> None:
    ids = [2, 105, 9, 106, 105, 5, 106, 105, 9, 106, 105, 6, 50, 7, 51, 8, 106]
    mask = [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]
    assert labels(ids, mask, 105, "completion") == [IGNORED] * 11 + [6, 50, 7, 51, 8, 106]


def test_strict_refuses_instead_of_dropping(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", row("What?", "That."), row("Empty?", ""))
    assert len(prepared(path, tokenizer).rows) == 1
    with pytest.raises(Refusal, match=r"strict allows no row .* 1 x an empty answer"):
        prepared(path, tokenizer, strict=True)


def test_long_rows_are_dropped_where_the_recipe_says_so(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", row("What?", "That."), row("Who?", "She. " * 60))
    result = prepared(path, tokenizer, max_length=40, truncation="drop")
    assert result.dropped == {"longer than data.max_length": 1}


def test_the_middle_is_cut_by_whole_exchanges(tmp_path: Path, tokenizer: Any) -> None:
    talk = [("user", "one"), ("assistant", "first answer")]
    talk += [("user", "two " * 30), ("assistant", "long answer " * 30)]
    talk += [("user", "three"), ("assistant", "last answer")]
    said = [{"role": role, "content": content} for role, content in talk]
    short = [*said[:2], *said[4:]]
    long = written(tmp_path / "long.jsonl", {"messages": said})
    without = written(tmp_path / "short.jsonl", {"messages": short})
    cut = prepared(long, tokenizer, max_length=60, truncation="cut_middle").rows[0]
    assert cut.is_truncated
    whole = prepared(without, tokenizer, max_length=60).rows[0]
    assert (cut.ids, cut.labels) == (whole.ids, whole.labels)


def test_a_filter_takes_rows_by_length(tmp_path: Path, tokenizer: Any) -> None:
    path = written(
        tmp_path / "rows.jsonl", row("a", "b"), row("a " * 20, "c d"), row("e " * 60, "f g")
    )
    source = Source(path=str(path), filter=Filter(min_tokens=25, max_tokens=60))
    result = prepare(Data(sources=(source,)), tokenizer, template("gemma4"))
    assert sorted(result.dropped) == [
        "longer than filter.max_tokens",
        "shorter than filter.min_tokens",
    ]
    assert [example.where for example in result.examples] == [f"{path}:2"]


BROKEN: dict[str, tuple[bytes, str]] = {
    "torn line": (b'{"question": \n', "not valid JSON"),
    "latin-1": (
        b'{"question": "caf\xe9", "answer": "b"}\n',
        "bytes that are not UTF-8; they read as cp1252",
    ),
    "no encoding": (b'{"question": "caf\x81", "answer": "b"}\n', "bytes that are not UTF-8"),
    "a list": (b"[1, 2]\n", "a row that is no object with named columns"),
    "deep": (b"[" * 100_000 + b"\n", "not valid JSON"),
    "lone surrogate": (
        b'{"question": "\\ud83d", "answer": "b"}\n',
        "text that is not valid Unicode",
    ),
    "NUL": (b'{"question": "a\\u0000", "answer": "b"}\n', "control characters in the text"),
    "bidi": (b'{"question": "a\\u202e", "answer": "b"}\n', "bidirectional controls in the text"),
    "U+FFFD": (
        b'{"question": "a\\ufffd", "answer": "b"}\n',
        "replacement characters (U+FFFD) in the text",
    ),
    "mojibake": ('{"question": "cafÃ©", "answer": "b"}\n'.encode(), "mojibake in the text"),
    "null": (b'{"question": "a", "answer": null}\n', "content that is null"),
    "placeholder": (
        b'{"question": "a", "answer": "I am {{name}}."}\n',
        "an unfilled {{placeholder}}",
    ),
    "duplicate": (b'{"question": "good", "answer": "row"}\n', "a duplicate of an earlier row"),
    "25 MB": (
        b'{"question": "' + b"a" * 25_000_000 + b'", "answer": "b"}\n',
        "a row of more than 16 MiB",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_nasty_row_is_dropped_under_its_reason(name: str, tmp_path: Path, tokenizer: Any) -> None:
    content, reason = BROKEN[name]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"question": "good", "answer": "row"}\n\n' + content)
    result = prepared(path, tokenizer)
    assert len(result.rows) == 1
    assert result.dropped == {reason: 1}
    assert result.sources[0].first_dropped[reason] == f"{path}:3"


def test_rows_worth_a_look_stay_and_are_noted(tmp_path: Path, tokenizer: Any) -> None:
    path = written(
        tmp_path / "rows.jsonl",
        row("Say <|turn>", "no"),
        row("Why?", "this"),
        row("Why?", "that"),
        row("Which?", "B"),
        row("A template", "Use `{{ name }}` there"),
    )
    (account,) = prepared(path, tokenizer).sources
    assert account.num_taken == 5
    assert account.noted == {
        "control tokens in the text, trained on as plain text": 1,
        "the prompt of an earlier row with another answer": 1,
        "an answer of one character": 1,
    }
    assert account.first_noted["the prompt of an earlier row with another answer"] == f"{path}:3"


def test_a_file_that_is_blank_or_utf_16_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n\n")
    with pytest.raises(Refusal, match="holds no rows"):
        prepared(path, tokenizer)
    path.write_text('{"question": "a", "answer": "b"}\n', encoding="utf-16")
    with pytest.raises(Refusal, match=r"rows\.jsonl.*UTF-16"):
        prepared(path, tokenizer)


def test_a_byte_order_mark_blank_lines_and_windows_ends_are_no_matter(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = ['{"question": "a", "answer": "b"}', "  ", '{"question": "\u2028c", "answer": "d"}']
    path.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    result = prepared(path, tokenizer)
    assert [example.where for example in result.examples] == [f"{path}:1", f"{path}:3"]
    assert not result.dropped
