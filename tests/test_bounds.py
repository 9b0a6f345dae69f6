"""Inputs that would take all of the memory, the disk or the day are refused, or told of."""

import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from engine.data.reading import files
from engine.data.reading.progress import MAX_ROWS, Progress, require_bounded
from engine.data.reading.row_index import MAX_ROW_BYTES, RowIndex
from engine.problems import Refusal
from engine.recipe import validate
from tests import command

ROOT = Path(__file__).parents[1]
ROW = {"question": "What?", "answer": "That."}
SLOW = r"(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)\1\2\3\4\5[AB]"


def opened(path: Path, cache: Path) -> RowIndex:
    return files.opened(path, files.digest(path, Progress()), cache, Progress())


def write_gzip(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        _write_long(file)


def write_zstd(path: Path) -> None:
    with pyarrow.output_stream(str(path), compression="zstd") as file:
        _write_long(file)


def _write_long(file: Any) -> None:
    """A good row, one line of 200 MiB, and another good row."""
    good = json.dumps(ROW).encode() + b"\n"
    file.write(good + b'{"text": "')
    for _ in range(200):
        file.write(b"x" * (1 << 20))
    file.write(b'"}\n' + good)


@pytest.mark.parametrize(
    ("name", "write"), [("rows.jsonl.gz", write_gzip), ("rows.jsonl.zst", write_zstd)]
)
def test_a_long_line_that_was_compressed_is_dropped_like_any_other(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    assert path.stat().st_size < 2 << 20
    index = opened(path, tmp_path)
    rows = list(index.read([0, 1, 2]))
    assert [number for number, _ in rows] == [1, 2, 3]
    assert rows[1][1] is None
    assert [json.loads(rows[place][1] or b"") for place in (0, 2)] == [ROW, ROW]
    (spool,) = (tmp_path / "lines").iterdir()
    assert spool.stat().st_size < MAX_ROW_BYTES + (4 << 20)


OPEN = """
import resource, sys
from pathlib import Path
from engine.data.reading.progress import Progress
from engine.data.reading import files
from engine.problems import Refusal
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    files.opened(path, files.digest(path, Progress()), path.parent, Progress())
except Refusal as refusal:
    print(refusal)
took_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
assert took_mib < 250, took_mib
"""


@pytest.mark.parametrize(
    ("name", "head", "words"),
    [
        ("rows.json.gz", b'[{"text": "', "not valid JSON"),
        ("rows.csv.gz", b"question,answer\na,", "a line of more than 16 MiB"),
        ("rows.csv.gz", b'question,answer\na,"\n', "it can't be read"),
    ],
)
def test_what_unpacks_into_much_is_refused_in_little_memory(
    tmp_path: Path, name: str, head: bytes, words: str
) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(400):
            file.write(b"x" * (1 << 20))
    line = [sys.executable, "-c", OPEN, str(path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_rows_are_counted_and_told_of(tmp_path: Path) -> None:
    said: list[str] = []
    progress = Progress(said.append)
    progress._told_at -= 10
    list(files.bounded(["{}\n" * 1000], "a.jsonl", progress))
    assert said == ["a.jsonl: 1,000 rows read"]
    require_bounded("a.jsonl", MAX_ROWS)
    with pytest.raises(Refusal, match=r"more than 50,000,000 rows"):
        require_bounded("a.jsonl", MAX_ROWS + 1)


def test_tens_of_millions_of_tiny_rows_are_refused_as_they_are_found(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write(b"0\n" * 1_000_000)
    with pytest.raises(Refusal, match="more than 50,000,000 rows"):
        opened(path, tmp_path)
    assert not list((tmp_path / "lines").iterdir())


def test_of_thousands_of_columns_the_first_are_named(tmp_path: Path) -> None:
    columns = [f"column {number}" for number in range(5_000)]
    (tmp_path / "rows.csv").write_text(f"{','.join(columns)}\n{'1,' * 4_999}1\n")
    code, out, err = command.call(
        tmp_path, "preview", "quickstart", "--set", "data.sources=[{path='rows.csv'}]"
    )
    assert (code, out) == (2, "")
    assert "column 0 (text), column 1 (text)" in err
    assert "more" in err
    assert len(err) < 1_500


def test_an_expression_has_a_deadline() -> None:
    """Python's own would not come back from it: shown in a process that is killed for it."""
    began = time.process_time()
    with pytest.raises(Refusal, match=r"it takes more than 0\.5 s to be matched with"):
        validate.load("quickstart", [f"adapter.target_modules='{SLOW}'"])
    assert time.process_time() - began < 30
    recipe, _ = validate.load("quickstart", [r"adapter.target_modules='.*self_attn\.[qv]_proj'"])
    assert recipe.adapter.target_modules == r".*self_attn\.[qv]_proj"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))

    name = "model.language_model.layers.1.self_attn.q_proj"
    stuck = [sys.executable, "-c", f"import re; re.fullmatch({SLOW!r}, {name!r})"]
    assert subprocess.run(stuck, preexec_fn=limited, check=False).returncode < 0
