"""Sources are mixed by seed, count, share and weight, whatever the file and number of processes."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.prepare import Prepared, prepare
from engine.data.reading import files
from engine.data.reading.progress import Progress
from engine.data.reading.row_index import UNREADABLE
from engine.problems import Refusal
from engine.recipe.schema import Data, Source

ROWS = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(40)]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mixed(tokenizer: Any, *sources: Source, seed: int = 0, **settings: Any) -> Prepared:
    data = Data(sources=sources, seed=seed)
    return prepare(data, tokenizer, template("gemma4"), **settings)


def asked(result: Prepared) -> list[str]:
    return [example.turns[0].content for example in result.examples]


def test_a_count_is_drawn_by_the_seeds(tmp_path: Path, tokenizer: Any) -> None:
    path = str(jsonl(tmp_path / "rows.jsonl", ROWS))
    first = mixed(tokenizer, Source(path=path, rows=10))
    assert len(set(asked(first))) == 10
    assert (first.sources[0].quota, first.sources[0].num_taken) == (10, 10)
    assert asked(mixed(tokenizer, Source(path=path, rows=10))) == asked(first)
    assert asked(mixed(tokenizer, Source(path=path, rows=10, seed=1))) != asked(first)
    assert asked(mixed(tokenizer, Source(path=path, rows=10), seed=1)) != asked(first)
    assert len(mixed(tokenizer, Source(path=path, rows=0.25)).rows) == 10


def test_more_rows_than_there_are_is_told(tmp_path: Path, tokenizer: Any) -> None:
    path = jsonl(tmp_path / "rows.jsonl", ROWS)
    report = mixed(tokenizer, Source(path=str(path), rows=50)).sources[0]
    assert (report.quota, report.num_taken) == (50, 40)


def test_a_dropped_row_is_made_up_for_by_another(tmp_path: Path, tokenizer: Any) -> None:
    bad = [{"question": "q", "answer": ""}] * 20
    path = jsonl(tmp_path / "rows.jsonl", [*ROWS, *bad])
    (account,) = mixed(tokenizer, Source(path=str(path), rows=30)).sources
    assert account.num_taken == 30
    assert account.dropped["an empty answer"] > 0


def test_a_weight_repeats_and_leaves_out(tmp_path: Path, tokenizer: Any) -> None:
    path = str(jsonl(tmp_path / "rows.jsonl", ROWS))
    twice = mixed(tokenizer, Source(path=path, weight=2.5))
    counts = sorted(asked(twice).count(row["question"]) for row in ROWS)
    assert counts == [2] * 20 + [3] * 20
    assert twice.sources[0].seen_per_epoch == len(twice.rows) == 100
    assert len(mixed(tokenizer, Source(path=path, weight=0.5)).rows) == 20


def test_a_row_of_two_sources_is_taken_once(tmp_path: Path, tokenizer: Any) -> None:
    left = jsonl(tmp_path / "left.jsonl", ROWS[:5])
    right = jsonl(tmp_path / "right.jsonl", ROWS[3:8])
    result = mixed(tokenizer, Source(path=str(left), name="first"), Source(path=str(right)))
    assert [account.name for account in result.sources] == ["first", "right.jsonl"]
    assert result.sources[1].dropped == {"a duplicate of an earlier row": 2}
    assert result.sources[1].first_dropped["a duplicate of an earlier row"] == f"{right}:1"


def test_several_processes_make_the_same_rows(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(1200)]
    path = str(jsonl(tmp_path / "rows.jsonl", rows))
    alone = mixed(tokenizer, Source(path=path, rows=1100), processes=1)
    together = mixed(tokenizer, Source(path=path, rows=1100), processes=2)
    assert together.fingerprint == alone.fingerprint
    assert asked(together) == asked(alone)


def as_json(path: Path) -> None:
    path.write_text(json.dumps(ROWS, indent=1))


def as_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answer"])
        writer.writeheader()
        writer.writerows(ROWS)


def as_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


def as_zstd(path: Path) -> None:
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS).encode())


KINDS = {
    "rows.json": as_json,
    "rows.csv": as_csv,
    "rows.jsonl.gz": as_gzip,
    "rows.jsonl.zst": as_zstd,
    "rows.parquet": lambda path: pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(ROWS), path, row_group_size=7
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_gives_the_same_rows(name: str, tmp_path: Path, tokenizer: Any) -> None:
    KINDS[name](tmp_path / name)
    lines = jsonl(tmp_path / "lines.jsonl", ROWS)
    found = mixed(tokenizer, Source(path=str(tmp_path / name)), cache=tmp_path / "cache")
    assert found.fingerprint == mixed(tokenizer, Source(path=str(lines))).fingerprint
    assert found.examples[2].where.startswith(f"{tmp_path / name}:")


def test_a_folder_and_a_pattern_are_their_files(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "set").mkdir()
    jsonl(tmp_path / "set" / "b.jsonl", ROWS[20:])
    jsonl(tmp_path / "set" / "a.jsonl", ROWS[:20])
    (tmp_path / "set" / "notes.txt").write_text("not rows")
    for path in (tmp_path / "set", tmp_path / "set" / "*.jsonl"):
        assert asked(mixed(tokenizer, Source(path=str(path)))) == [r["question"] for r in ROWS]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.json", b'[\n{"question": "a", "answer": "b"},\n{"question": oops}]', "rows.json:3"),
        ("rows.json", b'[{"question": "a", "answer": "b"}', r"rows.json:1: .*does not end"),
        (
            "rows.json",
            b'[\n{"question": "a"},\n\n{"answer": "b"\n',
            r"rows.json:5: .*Expecting ','",
        ),
        ("rows.json", b"[\n1,\n2", r"rows.json:3: .*the list does not end"),
        ("rows.jsonl.gz", b"no gzip", "can't be read"),
        ("rows.jsonl.zst", b"no zstd", "can't be read"),
        ("rows.parquet", b"no parquet", "can't be read"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused(
    name: str, content: bytes, expected: str, tmp_path: Path, tokenizer: Any
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=expected):
        mixed(tokenizer, Source(path=str(tmp_path / name)), cache=tmp_path / "cache")


def items_of(path: Path) -> list[Any]:
    index = files.opened(path, files.digest(path, Progress()), path.parent / "cache", Progress())
    return [json.loads(raw or b"") for _, raw in index.read(list(range(len(index))))]


def test_a_list_of_many_blocks_is_read_to_the_last_byte(tmp_path: Path) -> None:
    odd = [
        {"n": -(10**30), "x": 1.5e300, "s": "\ud800 \u00e9 ]}, [{", "deep": [[{}]]},
        7,
        "t",
        None,
    ]
    path = tmp_path / "rows.json"
    items = [*odd, {"long": "x" * (3 << 20)}, *({"n": n, "s": "y" * 190} for n in range(9000)), 12]
    path.write_text(json.dumps(items, indent=1))
    assert items_of(path) == items
    # The lone surrogate takes a slower way than the rest alone.
    path.write_text(json.dumps(items[1:], indent=1))
    assert items_of(path) == items[1:]
    path.write_bytes(b'[{"a": NaN}, {"a": "\xff"}\n{"b": 1},, ]')
    assert items_of(path)[1:] == [
        {UNREADABLE: "bytes that are not UTF-8; they read as cp1252"},
        {"b": 1},
    ]


def test_columns_are_mapped_to_the_formats_names(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"frage": "Why?", "antwort": "Because."}]
    path = str(jsonl(tmp_path / "rows.jsonl", rows))
    with pytest.raises(Refusal, match=r"columns frage \(text\), antwort \(text\)"):
        mixed(tokenizer, Source(path=path))
    result = mixed(tokenizer, Source(path=path, columns={"question": "frage", "answer": "antwort"}))
    assert asked(result) == ["Why?"]


def test_prepared_rows_are_found_again_until_something_changes(
    tmp_path: Path, tokenizer: Any
) -> None:
    cache = tmp_path / "cache"
    path = jsonl(tmp_path / "rows.jsonl", ROWS[:3])
    first = mixed(tokenizer, Source(path=str(path)), cache=cache)
    again = mixed(tokenizer, Source(path=str(path)), cache=cache)
    assert again.fingerprint == first.fingerprint
    assert again.sources == first.sources
    assert len(list((cache / "rows").glob("*.arrow"))) == 1
    jsonl(path, ROWS[:4])
    assert len(mixed(tokenizer, Source(path=str(path)), cache=cache).rows) == 4


def test_a_hub_dataset_is_refused_at_once_without_the_hub(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="can't be reached and the dataset is not in its cache"):
        mixed(tokenizer, Source(id="nobody/nothing"), cache=tmp_path)
