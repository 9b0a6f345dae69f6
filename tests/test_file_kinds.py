"""Every kind of file that people have gives the rows it holds, or says what is wrong with it."""

import csv
import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.prepare import Prepared, prepare
from engine.data.reading import files
from engine.data.reading.progress import Progress
from engine.data.reading.row_index import MAX_ROW_BYTES
from engine.problems import Refusal
from engine.recipe.data_files import COMPRESSED, ENDINGS
from engine.recipe.schema import Data, Source
from tests import command
from tools import write_file_kinds

ROWS = [
    {"instruction": f"Name a tree, {n}.", "output": f"A larch; {n}\tof them."} for n in range(3)
]
TALK = [
    {"role": "user", "content": 'Which gate, "east"?'},
    {"role": "assistant", "content": "It opens at nine.\nIt's there."},
]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


@pytest.fixture
def read(tmp_path: Path, tokenizer: Any) -> Callable[[Path], Prepared]:
    def prepared(path: Path, **chosen: Any) -> Prepared:
        data = Data(sources=(Source(path=str(path), **chosen),))
        return prepare(data, tokenizer, template("gemma4"), tmp_path / "cache")

    return prepared


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(path: Path, delimiter: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ROWS[0]], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("empty")
    book.worksheets[0].append([])
    for row in ([*ROWS[0]], *([*row.values()] for row in ROWS)):
        book.worksheets[0].append(row)
    book.save(path)


def arrow_file(path: Path) -> None:
    rows = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_file(path, rows.schema) as file:
        file.write_table(rows, max_chunksize=2)


def arrow_stream(path: Path) -> None:
    rows = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_stream(path, rows.schema) as file:
        file.write_table(rows)


def compressed(path: Path) -> None:
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        file.write(json.dumps({"data": ROWS}, indent=1).encode())


KINDS: dict[str, Callable[[Path], object]] = {
    "semicolon.csv": lambda path: table(path, ";"),
    "tabs.csv": lambda path: table(path, "\t"),
    "tabs.tsv": lambda path: table(path, "\t"),
    "told.csv": lambda path: (table(path, ";"), path.write_text("sep=;\n" + path.read_text())),
    "marked.csv": lambda path: (
        table(path, ","), path.write_text(path.read_text(), "utf-8-sig")
    ),
    "spaced.csv": lambda path: path.write_text(
        "instruction, output\n" + "".join(f'"{r["instruction"]}", "{r["output"]}"\n' for r in ROWS)
    ),
    "index.csv": lambda path: path.write_text(
        ",instruction,output\n"
        + "".join(f'{n},"{r["instruction"]}","{r["output"]}"\n' for n, r in enumerate(ROWS))
    ),
    "list.json": lambda path: path.write_text(json.dumps(ROWS)),
    "list.jsonl": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "indented.json": lambda path: path.write_text("\ufeff\n" + json.dumps(ROWS, indent=1)),
    "wrapped.json": lambda path: path.write_text(json.dumps({"v": 1, "data": ROWS}, indent=1)),
    "wrapped_short.json": lambda path: path.write_text(json.dumps({"rows": ROWS})),
    "pretty.jsonl": lambda path: path.write_text("\n".join(json.dumps(r, indent=2) for r in ROWS)),
    "pretty.json": lambda path: path.write_text("\n\n".join(json.dumps(r, indent=2) for r in ROWS)),
    "columns.json": lambda path: path.write_text(
        json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}, indent=1)
    ),
    "lines.ndjson": lambda path: lines(path, *ROWS),
    "lines.json": lambda path: lines(path, *ROWS),
    "lines.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "wrapped.json.zst": compressed,
    "rows.parquet": lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
    "rows.arrow": arrow_file,
    "stream.arrow": arrow_stream,
    "rows.xlsx": workbook,
}  # fmt: skip


def test_every_kind_of_file_gives_the_rows_of_json_lines(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    expected = read(lines(tmp_path / "rows.jsonl", *ROWS))
    assert len(expected.rows) == len(ROWS)
    for name, write in KINDS.items():
        path = tmp_path / name
        write(path)
        for _ in range(2):
            # The second time it is read from what the first one wrote.
            found = read(path)
            assert list(found.rows) == list(expected.rows), name
            assert [example.where for example in found.examples] == [
                f"{path}:{number}" for number in (1, 2, 3)
            ], name
            shutil.rmtree(tmp_path / "cache/rows")


def test_lists_that_a_column_holds_as_text_are_read(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    expected = read(lines(tmp_path / "plain.jsonl", {"messages": TALK}))
    text = json.dumps(TALK)
    lines(tmp_path / "text.jsonl", {"messages": text})
    for name, value in (("text.csv", text), ("printed.csv", str(TALK))):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([["id", "messages"], [1, value]])
    for name in ("text.jsonl", "text.csv", "printed.csv"):
        assert list(read(tmp_path / name).rows) == list(expected.rows), name
    lines(tmp_path / "named.jsonl", {"talk": text})
    named = read(tmp_path / "named.jsonl", columns={"messages": "talk"})
    assert list(named.rows) == list(expected.rows)


def test_text_that_looks_like_a_list_stays_text(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    said = {"prompt": "[1, 2]", "completion": '[{"a": 1}]'}
    (example,) = read(lines(tmp_path / "rows.jsonl", said)).examples
    assert [turn.content for turn in example.turns] == [said["prompt"], said["completion"]]


REFUSED: dict[str, tuple[bytes, list[str]]] = {
    "pandas.json": (
        json.dumps({"a": {"0": "x", "1": "y"}, "b": {"0": "x", "1": "y"}}).encode(),
        ["pandas", 'orient="records"'],
    ),
    "index.json": (b'{"0": {"a": "x"}, "1": {"a": "y"}}', ["pandas", 'orient="records"']),
    "split.json": (
        b'{"columns": ["a"], "index": [0], "data": [["x"]]}', ['orient="records"'],
    ),
    "uneven.json": (b'{"a": ["x", "y"], "b": ["x"]}', ["a has 2, b has 1"]),
    "both.json": (
        b'{"train": [{"a": 1}], "test": [{"a": 1}]}', ["under train, test", "a file of its own"],
    ),
    "torn.jsonl": (b'{\n "a": 1\n}\n{\n "a": oops\n}\n', ["torn.jsonl:5", "not valid JSON"]),
    "twice.csv": (b"a,b,a\n1,2,3\n", ["two columns are called a"]),
    "no.xlsx": (b"no workbook", ["no workbook", "CSV"]),
    "no.arrow": (b"no arrow", ["can't be read"]),
    "wide.json": ('[{"a": "b"}]'.encode("utf-16"), ["UTF-16", "iconv -f utf-16 -t utf-8"]),
    "wide.csv": ("a,b\n1,2\n".encode("utf-16"), ["UTF-16"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_rows_is_refused_with_what_helps(
    name: str, tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    content, said = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal) as refused:
        read(tmp_path / name)
    for words in (name, *said):
        assert words in str(refused.value)


def test_sheets_that_all_hold_rows_are_refused(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].append(["question"])
    book.create_sheet("More").append(["question"])
    book.save(tmp_path / "rows.xlsx")
    with pytest.raises(Refusal, match="the sheets Sheet, More hold rows"):
        read(tmp_path / "rows.xlsx")


def test_without_its_extra_a_workbook_names_it(
    tmp_path: Path, read: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook(tmp_path / "rows.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(Refusal, match=r"pip install 'gemma-bench\[xlsx\]'"):
        read(tmp_path / "rows.xlsx")


def test_long_rows_and_long_lists_are_told_apart(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    many = [{"question": f"{n}?", "answer": "word " * 5000} for n in range(900)]
    (tmp_path / "list.json").write_text(json.dumps({"data": many}))
    assert (tmp_path / "list.json").stat().st_size > MAX_ROW_BYTES
    index = files.opened(
        tmp_path / "list.json",
        files.digest(tmp_path / "list.json", Progress()),
        tmp_path,
        Progress(),
    )
    assert [json.loads(raw or b"") for _, raw in index.read([0, 899])] == [many[0], many[899]]
    long = {"question": "?", "answer": "x" * MAX_ROW_BYTES}
    found = read(lines(tmp_path / "rows.jsonl", long, *ROWS))
    assert (len(found.rows), dict(found.dropped)) == (3, {"a row of more than 16 MiB": 1})


def test_a_separator_without_quotes_drops_its_row(
    tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\nWhy, then?,Because.\nWho?,She.\nWhen?,Now.,,\n")
    (source,) = (found := read(path)).sources
    assert len(found.rows) == 2
    assert source.dropped == {"more fields than the table has columns": 1}
    assert source.first_dropped == {"more fields than the table has columns": f"{path}:1"}


@pytest.mark.parametrize(
    ("encoding", "words"), [("cp1252", "Où est le café “Émile” – ici"), ("cp949", "문을 여는 시각")]
)
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_advice_for_a_file_in_another_encoding_works(
    encoding: str, words: str, ending: str, tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    path = tmp_path / f"rows.{ending}"
    rows = [{"question": f"{n}?", "answer": f"{words} {n}" if n % 2 else "yes"} for n in range(8)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if ending == "csv":
        text = "question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in rows)
    path.write_bytes(text.encode(encoding))
    with pytest.raises(Refusal) as refused:
        read(path)
    (problem,) = refused.value.problems
    assert words in problem.reason
    assert refused.value.where == f"{path}:{3 if ending == 'csv' else 2}"
    advice = problem.fix.removeprefix("Write it anew: ")
    subprocess.run(["sh", "-c", advice], cwd=tmp_path, check=True)
    found = read(tmp_path / f"utf8.{ending}")
    assert [example.turns[-1].content for example in found.examples] == [r["answer"] for r in rows]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv"])
def test_one_line_in_another_encoding_is_dropped_by_its_name(
    ending: str, tmp_path: Path, read: Callable[..., Prepared]
) -> None:
    """All others stay, those with letters beyond ASCII among them."""
    said = [f"{word} {n}" for n, word in enumerate(("thé", "yes", "café", "naïve"))]
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(said)]
    written = {
        "jsonl": [json.dumps(row, ensure_ascii=False) for row in rows],
        "json": [f"{'[,,,'[n]}{json.dumps(row, ensure_ascii=False)}" for n, row in enumerate(rows)],
        "csv": ["question,answer", *(f"{row['question']},{row['answer']}" for row in rows)],
        "tsv": ["question\tanswer", *(f"{row['question']}\t{row['answer']}" for row in rows)],
    }[ending]
    path = tmp_path / f"rows.{ending}"
    ends = "]" if ending == "json" else ""
    path.write_bytes(
        b"".join(
            line.encode("cp1252" if "café" in line else "utf-8") + b"\n"
            for line in [*written, *ends]
        )
    )
    prepared = read(path)
    assert [example.turns[-1].content for example in prepared.examples] == [*said[:2], said[3]]
    reason = "bytes that are not UTF-8; they read as cp1252"
    assert prepared.dropped == {reason: 1}
    assert prepared.sources[0].first_dropped == {reason: f"{path}:3"}


def test_the_table_of_the_docs_is_what_the_engine_says() -> None:
    """Written by `python -m tools.write_file_kinds`."""
    text = write_file_kinds.PAGE.read_text("utf-8")
    assert text == write_file_kinds.page(text)
    named = " ".join(kind.endings for kind in write_file_kinds.KINDS)
    assert all(ending in named for ending in (*ENDINGS, *COMPRESSED))


def test_a_preview_reads_them_and_tells_a_refusal_once(tmp_path: Path) -> None:
    names = ["wrapped.json", "semicolon.csv", "pretty.jsonl", "rows.arrow", "rows.xlsx"]
    for name in names:
        KINDS[name](tmp_path / name)
    chosen = ", ".join(f"{{path='{name}'}}" for name in names)
    arguments = ["preview", "quickstart", "--json", "--set"]
    code, out, err = command.call(tmp_path, *arguments, f"data.sources=[{chosen}]")
    assert (code, err) == (0, "")
    told = json.loads(out)["sources"]
    assert [one["asked"] for one in told] == [3] * len(names)
    assert told[0]["taken"] == 3
    (tmp_path / "pandas.json").write_bytes(REFUSED["pandas.json"][0])
    code, out, err = command.call(tmp_path, *arguments, "data.sources=[{path='pandas.json'}]")
    assert (code, out, err.count("gemma-bench: ")) == (2, "", 1)
    assert 'orient="records"' in err
