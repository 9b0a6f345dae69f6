"""Files to tokens: every row is trained on or accounted for, with its place in the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.data import rows
from engine.data.prepare import Prepared, prepare
from engine.data.template import template
from engine.data.tokens import IGNORED, labels
from engine.recipe import Data, Source
from engine.refusal import Refusal


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
        "no answer in the row": 1,
        "content that is not text": 1,
        "columns are not those of question": 1,
        "no token with loss within max_length": 1,
    }
    assert result.first_dropped["no answer in the row"] == f"{path}:2"
    assert [example.where for example in result.examples] == [f"{path}:1", f"{path}:6"]
    assert [r.is_truncated for r in result.rows] == [False, True]
    assert max(len(r.ids) for r in result.rows) == 40
    assert all(len(r.ids) == len(r.labels) for r in result.rows)


def test_no_row_left_is_refused_with_reasons(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", row("Empty?", ""), row("Also?", " "))
    with pytest.raises(Refusal, match=r"2 x no answer in the row \(first: .*rows.jsonl:1\)"):
        prepared(path, tokenizer)


def test_unknown_columns_are_refused_with_the_known_formats(tmp_path: Path, tokenizer: Any) -> None:
    path = written(tmp_path / "rows.jsonl", {"a": 1, "b": 2})
    with pytest.raises(Refusal, match=r"columns a, b\. Known formats: messages, sharegpt"):
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


BROKEN: dict[str, tuple[bytes, str]] = {
    "torn line": (b'{"a": 1}\n{"a": \n', "rows.jsonl:2.*not valid JSON"),
    "latin-1": (b'{"a": 1}\n{"a": "caf\xe9"}\n', "rows.jsonl:2.*not UTF-8"),
    "a list": (b"[1, 2]\n", "rows.jsonl:1.*not list"),
    "blank": (b"\n \n", "holds no rows"),
    "deep": (b"[" * 100_000 + b"\n", "rows.jsonl:1.*not valid JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_by_line(name: str, tmp_path: Path) -> None:
    content, expected = BROKEN[name]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=f"(?s){expected}"):
        rows.read(path)


def test_a_byte_order_mark_blank_lines_and_windows_ends_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xe2\x80\xa8"}\r\n')
    assert [(r.number, r.record) for r in rows.read(path)] == [(1, {"a": 1}), (3, {"a": "\u2028"})]


def test_a_json_list_is_read_by_position(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"a": 1}, {"a": 2}]')
    assert [r.where for r in rows.read(path)] == [f"{path}:1", f"{path}:2"]
