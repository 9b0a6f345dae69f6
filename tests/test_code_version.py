"""Prepared rows are made anew wherever the code that makes them has changed."""

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from engine import installed
from engine.data import code_version, prepare
from engine.data.encoding.template import template
from engine.data.reading import files
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Data, Source

CODE = [
    file.relative_to(room.parent)
    for room in code_version.ROOMS
    for file in sorted(room.rglob("*"))
    if file.suffix in {".py", ".toml"}
]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rooms that rows depend on, to be edited."""
    folder = tmp_path_factory.mktemp("engine")
    for room in code_version.ROOMS:
        shutil.copytree(room, folder / room.name, ignore=shutil.ignore_patterns("__pycache__"))
    return [folder / room.name for room in code_version.ROOMS]


def test_the_rooms_hold_what_rows_depend_on() -> None:
    assert {"data/checks.py", "data/formats/chat.py", "gemma/gemma.toml", "recipe/schema.py"} <= {
        str(file) for file in CODE
    }


@pytest.mark.parametrize("file", CODE, ids=str)
def test_editing_a_file_changes_the_version(file: Path, copies: list[Path]) -> None:
    path = copies[0].parent / file
    before, text = code_version.digest(copies), path.read_bytes()
    path.write_bytes(text + b"#")
    assert code_version.digest(copies) != before
    path.write_bytes(text)
    assert code_version.digest(copies) == before == code_version.code_version()


def test_another_release_of_a_package_changes_the_version(
    copies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_version.digest(copies)
    monkeypatch.setattr(installed, "version", lambda name: "0" if name == "tokenizers" else "1")
    assert code_version.digest(copies) != before


def test_changed_code_finds_no_cached_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "rows.csv", tmp_path / "cache"
    path.write_text("question,answer\nWhat?,That.\n")
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS)

    def cached() -> list[int]:
        data = Data(sources=(Source(path=str(path)),))
        prepare.prepare(data, tokenizer, template("gemma4"), cache)
        return [len([*cache.glob(kind)]) for kind in ("lines/*.jsonl", "rows/*.arrow")]

    assert [cached(), cached()] == [[1, 1], [1, 1]]
    for module in (files, prepare):
        monkeypatch.setattr(module, "code_version", lambda: "of another day" * 9)
    assert cached() == [2, 2]
