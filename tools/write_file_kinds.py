"""Write the table of file kinds in docs/data.md: `python -m tools.write_file_kinds`.

What is refused are the engine's own words about a file of that sort, made and read for it.
"""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engine.data.reading import files
from engine.data.reading.progress import Progress
from engine.problems import Refusal
from engine.recipe.data_files import source_files
from tools import written_part

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
BEGIN, END = "<!-- python -m tools.write_file_kinds -->\n", "<!-- end -->\n"
ROW = '{"question": "Who?", "answer": "She."}'


@dataclass(frozen=True)
class FileKind:
    """One line of the table; of `refused` each is a file of its name and contents."""

    endings: str
    read: str
    refused: tuple[tuple[str, bytes], ...]


KINDS = (
    FileKind(
        ".jsonl, .ndjson",
        "an object on each line, or objects of several lines one after the other; a byte order "
        "mark and blank lines are no matter",
        (
            ("rows.jsonl", b'{"answer": "caf\xe9"}\n' * 2),
            ("rows.jsonl", ROW.encode("utf-16")),
            ("rows.jsonl", b'{\n "a": 1\n}\n{\n "a": oops\n}\n'),
        ),
    ),
    FileKind(
        ".json",
        "a list of objects, as it is or within an object under `data`, `rows`, `train` or the "
        "like; an object with a list for each column; all that .jsonl may be",
        (
            ("rows.json", b'{"question": {"0": "Who?"}, "answer": {"0": "She."}}'),
            ("rows.json", b'{"columns": ["question"], "index": [0], "data": [["Who?"]]}'),
            ("rows.json", b'{"question": ["Who?", "Why?"], "answer": ["She."]}'),
            ("rows.json", f'{{"train": [{ROW}], "test": [{ROW}]}}'.encode()),
            ("rows.json", f"[{ROW}, oops]".encode()),
        ),
    ),
    FileKind(
        ".csv, .tsv",
        "columns by the first line, parted by commas, semicolons, tabs or bars, whichever it has; "
        "blanks around names are none; a row with more fields than names is dropped",
        (
            ("rows.csv", b"question,answer,answer\nWho?,She.,He.\n"),
            ("rows.csv", "question,answer\nWo?,Köln.\nWer?,Jörg.\n".encode("cp1252")),
        ),
    ),
    FileKind(
        ".parquet, .arrow",
        "rows as they were before a table's types filled their objects with nulls; Arrow as a file "
        "or a stream; images as bytes, kept in the cache",
        (("rows.parquet", b"no parquet"),),
    ),
    FileKind(
        ".xlsx",
        "the only sheet that holds anything, columns by its first row; needs `gemma-bench[xlsx]`",
        (("rows.xlsx", b"no workbook"), ("rows.xlsx", b"two sheets")),
    ),
    FileKind(
        "the first three as .gz or .zst",
        "as without; .parquet, .arrow and .xlsx are compressed in themselves",
        (("rows.jsonl.gz", b"no gzip"),),
    ),
    FileKind(
        "a folder, a pattern, what `save_to_disk` wrote",
        "files of the asked `split`, as names of files and folders say it; all where none names "
        'one, or with `split = "all"`; of metadata and hidden files nothing',
        (("set/test.jsonl", ROW.encode()), ("bare/README.md", b"# None")),
    ),
)


def table() -> str:
    """The table in Markdown."""
    lines = ["| file | what is read | what is refused, in these words |", "|---|---|---|"]
    lines += [
        f"| {kind.endings} | {kind.read} | {'; '.join(refusal(*file) for file in kind.refused)} |"
        for kind in KINDS
    ]
    return "\n".join(lines) + "\n"


def refusal(name: str, content: bytes) -> str:
    """What the engine says of a file, without its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows", name)
        path.parent.mkdir(parents=True)
        path.write_bytes(_two_sheets() if content == b"two sheets" else content)
        source = source_files(str(path.parent if "/" in name else path))
        if not source.read:
            return source.reason or "no file with rows is there"
        try:
            for file in source.read:
                files.opened(file, files.digest(file, Progress()), Path(folder), Progress())
        except Refusal as refused:
            (problem,) = refused.problems
            return problem.reason.replace(folder, "")
    raise ValueError(f"{name} is read")


def _two_sheets() -> bytes:
    import openpyxl

    book, file = openpyxl.Workbook(), io.BytesIO()
    for sheet in (book.worksheets[0], book.create_sheet()):
        sheet.append(["question"])
    book.save(file)
    return file.getvalue()


def page(text: str) -> str:
    """A page with the table that it holds made anew."""
    return written_part.renewed(text, BEGIN, table(), END)


if __name__ == "__main__":
    written_part.write(PAGE, page)
