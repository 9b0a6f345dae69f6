"""Files that are there whole or not at all."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import atomic

FILLED = """
import resource, sys
from pathlib import Path
from engine import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
path = Path(sys.argv[1])
for write in (
    lambda: atomic.write_whole(path, b"x" * 100),
    lambda: atomic.write_json(path, {"a": "b" * 100}),
    lambda: atomic.write_lines(path, ["line\\n"] * 100),
):
    try:
        write()
    except OSError as error:
        print(error.errno)
"""
WRITES: list[Callable[[Path], None]] = [
    lambda path: atomic.write_whole(path, b'{"new": 1}\n'),
    lambda path: atomic.write_json(path, {"new": 1}),
    lambda path: atomic.write_lines(path, ['{"new": 1}\n']),
]


@pytest.mark.parametrize("write", WRITES, ids=["whole", "json", "lines"])
def test_a_file_takes_the_place_of_another(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old and longer than what comes")
    write(path)
    assert json.loads(path.read_text()) == {"new": 1}
    assert path.read_bytes().endswith(b"\n")
    assert os.listdir(tmp_path) == ["file.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FILLED, path], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.split()) == 3
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["file.json"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_what_was_there(
    error: type[BaseException], tmp_path: Path
) -> None:
    def lines() -> Iterator[str]:
        yield "new\n"
        raise error

    path = tmp_path / "folder" / "file.jsonl"
    path.parent.mkdir()
    path.write_text("old")
    with pytest.raises(error):
        atomic.write_lines(path, lines())
    assert (path.read_text(), os.listdir(path.parent)) == ("old", ["file.jsonl"])


@pytest.mark.parametrize("is_durable", [True, False])
def test_what_is_durable_is_on_the_disk_before_its_name_is(
    is_durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    path = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.exists()))
    with atomic.replacing(path, is_durable=is_durable) as file:
        file.write(b"new")
    assert synced == ([False] if is_durable else [])
    assert path.read_bytes() == b"new"


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    path, document = tmp_path / "file", {"a": "한국\udcff"}
    atomic.write_json(path, document)
    assert "한국" in path.read_text()
    read: Any = json.loads(path.read_bytes())
    assert read == document
    atomic.write_lines(path, ["a\udcff\r\n"])
    assert path.read_bytes() == b"a\xff\r\n"


def test_a_file_of_the_user_may_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        atomic.write_whole(tmp_path / "mine.toml", b"", mode=0o666)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mine.toml").stat().st_mode) == 0o644
