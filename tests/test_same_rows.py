"""The same rows in any kind of file give the same ids and labels, row by row, in every format."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.formats.registry import FORMATS, format_of
from engine.data.prepare import prepare
from engine.recipe.schema import Data, Source
from tests.nine_formats import NINE
from tests.test_no_key_vanishes import ROWS


def called(name: str, **arguments: Any) -> list[dict[str, Any]]:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    shape = {key: {"type": "string", "description": key} for key in arguments}
    return [
        {"role": "user", "content": f"Do {name}."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
        {"role": "assistant", "content": f"{name} is done."},
    ], [{"type": "function", "function": {
        "name": name, "description": "", "parameters": {"type": "object", "properties": shape},
    }}]  # fmt: skip


CALLS = [
    dict(zip(("messages", "tools"), called(name, **arguments), strict=True))
    for name, arguments in (("move", {"column": 4}), ("lift", {"crate": "red"}), ("stop", {}))
]
"""Functions with different arguments: a table has the keys of all of them in every row."""
MIXED = [
    {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]},
    {"system": "Be brief.", "messages": [
        {"role": "user", "name": "Ann", "content": "And you?"},
        {"role": "assistant", "reasoning_content": "She asks.", "content": "I too."},
    ]},
]  # fmt: skip
RESPONSES = [
    {"instruction": "Name one.", "output": "A larch."},
    {"instruction": "Another.", "response": "A birch.", "input": "of trees"},
]
NULLS = [
    {name: json.dumps(value) for name, value in zip(("messages", "tools"), row, strict=True)}
    for row in (called("lift", crate=None, weight=2), called("drop", crate="red", weight=None))
]
"""Lists as text, of which no table knows the types: a null in them is the row's own."""
GEMINI: list[dict[str, Any]] = [
    {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [
        {"role": "user", "parts": [{"text": "Move it."}]},
        {"role": "model", "parts": [
            {"text": "It asks.", "thought": True},
            {"functionCall": {"name": "move", "args": {"column": 4}}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "move", "response": {"done": True}}},
        ]},
        {"role": "model", "parts": [{"text": "Moved."}]},
    ]},
    {"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [
        {"role": "user", "parts": [{"text": "Hello?"}]},
        {"role": "model", "parts": [{"text": "Yes."}]},
    ]},
]  # fmt: skip
SQUAD = [
    {"context": "Kanishka ruled.", "question": "Who ruled?",
     "answers": {"text": ["Kanishka"], "answer_start": [0]}},
    {"context": "It rained.", "question": "What fell?",
     "answers": {"text": ["Rain", "It"], "answer_start": [3, 0]}},
]  # fmt: skip
XLAM = [
    {"query": "Move it.", "answers": [{"name": "move", "arguments": {"column": 4}}],
     "tools": [{"name": "move", "description": "Move.", "parameters": {"column": {"type": "int"}}}]}
]  # fmt: skip
WEIGHED = [{"question": f"And {n}?", "answer": f"{n}.", "weight": n / 4} for n in (1, 2, 4)]
ONES = {f"one {name}": [row] for name, row in ROWS.items() if name not in ("chosen", "xlam")}
SETS = {**NINE, "calls": CALLS, "nulls": NULLS, "mixed": MIXED, "responses": RESPONSES,
        "gemini": GEMINI, "squad": SQUAD, "weighed": WEIGHED, "xlam": XLAM, **ONES}  # fmt: skip
"""Rows of every format."""


def test_every_format_has_rows_here() -> None:
    """All but the one that is never told from columns."""
    assert {*FORMATS} - {"chosen"} <= {format_of(rows[0]) for rows in SETS.values()}


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def written(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    """The rows as JSON Lines, and in every kind of file that can hold them."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rows.json").write_text(json.dumps(rows, indent=1))
    in_table = pyarrow.Table.from_pylist(rows, _schema(rows))
    pyarrow.parquet.write_table(in_table, folder / "rows.parquet")
    with pyarrow.ipc.new_file(folder / "rows.arrow", in_table.schema) as file:
        file.write_table(in_table)
    Dataset(in_table).save_to_disk(folder / "saved")
    paths = [folder / name for name in ("rows.json", "rows.parquet", "rows.arrow", "saved")]
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, in_table.column_names)
        writer.writeheader()
        # What is no text is written as JSON, since a CSV has no lists.
        writer.writerows(
            {key: v if isinstance(v, str) else json.dumps(v) for key, v in row.items()}
            for row in rows
        )
    is_whole = all(row.keys() == {*in_table.column_names} for row in rows)
    return [*paths, folder / "rows.csv"] if is_whole else paths


def _schema(rows: list[dict[str, Any]]) -> Any:
    """Of all rows: a table made of a list has the columns of its first row only."""
    whole = [pyarrow.Table.from_pylist([row]).schema for row in rows]
    return pyarrow.unify_schemas(whole, promote_options="permissive")


@pytest.mark.parametrize("name", SETS)
def test_rows_are_the_same_whatever_holds_them(name: str, tmp_path: Path, tokenizer: Any) -> None:
    def read(path: Path) -> list[tuple[list[int], list[int], list[float]]]:
        data = Data(sources=(Source(path=str(path)),), max_length=4096)
        found = prepare(data, tokenizer, template("gemma4"), tmp_path / "cache")
        return [(row.ids, row.labels, [*row.weights]) for row in found.rows]

    others = written(tmp_path, SETS[name])
    expected = read(tmp_path / "rows.jsonl")
    assert len(expected) == len(SETS[name])
    assert {path.name: read(path) == expected for path in others} == {
        path.name: True for path in others
    }


def test_a_null_that_a_row_itself_holds_stays(tmp_path: Path, tokenizer: Any) -> None:
    """As text in any kind of file, and as it stands in JSON Lines."""

    def read(rows: list[dict[str, Any]]) -> list[list[int]]:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = Data(sources=(Source(path=str(path)),), max_length=4096)
        found = prepare(data, tokenizer, template("gemma4"), tmp_path / "cache")
        return [row.ids for row in found.rows]

    plain = [{name: json.loads(text) for name, text in row.items()} for row in NULLS]
    ids = read(plain)
    assert ["crate:null" in tokenizer.decode(row) for row in ids] == [True, False]
    assert ["weight:null" in tokenizer.decode(row) for row in ids] == [False, True]
    assert read(NULLS) == ids


def test_a_null_of_an_object_s_own_is_left_out_of_a_table_unless_it_is_text(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Nothing in a table tells it from what the column's type puts there."""

    def read(rows: list[dict[str, Any]], name: str) -> list[str]:
        path = tmp_path / name
        if path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, _schema(rows)), path)
        data = Data(sources=(Source(path=str(path)),), max_length=4096)
        found = prepare(data, tokenizer, template("gemma4"), tmp_path / "cache")
        return [tokenizer.decode(row.ids) for row in found.rows]

    rows = [{name: json.loads(text) for name, text in row.items()} for row in NULLS]
    assert ["crate:null" in text for text in read(rows, "own.jsonl")] == [True, False]
    assert not any(":null" in text for text in read(rows, "own.parquet"))
    as_text = [{**row, "messages": json.dumps(row["messages"])} for row in rows]
    texts = read(as_text, "text.parquet")
    assert ["crate:null" in text for text in texts] == [True, False]
    assert texts == read(as_text, "text.jsonl")
